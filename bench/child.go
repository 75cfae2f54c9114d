package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/turretgo/turret/bench/kmsproc"
)

// child is this program once more, as one contender: it answers each question on
// its stdin with one on its stdout, both JSON.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ask   *json.Encoder
	told  *json.Decoder
}

func startChild(ctx context.Context, kms *kmsproc.KMS, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, args...)}
	c.cmd.Env, c.cmd.Stderr = kms.Env(), os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.ask, c.told = json.NewEncoder(c.stdin), json.NewDecoder(stdout)
	return c, c.cmd.Start()
}

func (c *child) do(question, answer any) error {
	if err := c.ask.Encode(question); err != nil {
		return fmt.Errorf("%v is gone: %w", c.cmd.Args[1:], err)
	}
	if err := c.told.Decode(answer); err != nil {
		return fmt.Errorf("%v: %w", c.cmd.Args[1:], err)
	}
	return nil
}

func (c *child) close() error { return errors.Join(c.stdin.Close(), c.cmd.Wait()) }

// answer is what a child does: it answers questions until there are no more.
func answer[Question, Answer any](stdin io.Reader, stdout io.Writer, to func(Question) (Answer, error)) error {
	questions, answers := json.NewDecoder(stdin), json.NewEncoder(stdout)
	for {
		var q Question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := to(q)
		if err != nil {
			return err
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}
