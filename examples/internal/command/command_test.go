package command_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/examples/internal/tool"
)

func TestMain(m *testing.M) {
	if os.Getenv("BE_A_COMMAND") == "" {
		os.Exit(m.Run())
	}
	command.Main("demo", func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		flags := flag.NewFlagSet("demo", flag.ContinueOnError)
		fail := flags.Bool("fail", false, "end with an error")
		wait := flags.Bool("wait", false, "read all input")
		stuck := flags.Bool("stuck", false, "read all input, whatever happens")
		if err := command.Parse(flags, args, 1, "[flags] [FILE]\n\nShows itself.", stderr); err != nil {
			return err
		}
		if *fail {
			return errors.New("as you wish")
		}
		if *stuck {
			_, _ = io.Copy(stdout, os.Stdin)
		}
		if *wait {
			input := make(chan struct{})
			go func() { defer close(input); _, _ = io.Copy(stdout, os.Stdin) }()
			select {
			case <-input:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		_, err := io.WriteString(stdout, "done\n")
		return err
	})
}

func TestExitStatusAndMessages(t *testing.T) {
	for args, want := range map[string]struct {
		status         int
		stdout, stderr string
	}{
		"":        {0, "done\n", ""},
		"-h":      {0, "", "usage: go run ./examples/demo [flags] [FILE]\n\nShows itself.\n\n  -fail\n    \tend with an error\n  -stuck\n    \tread all input, whatever happens\n  -wait\n    \tread all input\n"},
		"-fail":   {1, "", "demo: as you wish\n"},
		"-nope":   {2, "", "demo: flag provided but not defined: -nope; -h lists the flags\n"},
		"one":     {0, "done\n", ""},
		"one two": {2, "", "demo: \"two\" is one too many; flags come first, and at most 1 other after them\n"},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(args)...)
		cmd.Env = append(os.Environ(), "BE_A_COMMAND=1")
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run()
		require.Equal(t, want.status, cmd.ProcessState.ExitCode(), args)
		require.Equal(t, want.stdout, stdout.String(), args)
		require.Equal(t, want.stderr, stderr.String(), args)
	}
}

// waiting starts a command that waits. Exchange sends it a line and gets that back.
func waiting(t *testing.T, name string, args ...string) (cmd *exec.Cmd, stdin io.Closer, exchange func()) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "BE_A_COMMAND=1")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(out)
	return cmd, in, func() {
		t.Helper()
		_, err := io.WriteString(in, "hello\n")
		require.NoError(t, err)
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "hello\n", line)
	}
}

func TestASignalEndsTheContext(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(sig) {
			continue // these tests run under nohup, say, and what they start inherits that
		}
		cmd, _, exchange := waiting(t, os.Args[0], "-wait")
		exchange()
		require.NoError(t, cmd.Process.Signal(sig))
		require.Error(t, cmd.Wait())
		require.Equal(t, 1, cmd.ProcessState.ExitCode(), "%v: %v", sig, cmd.ProcessState)
	}
}

func TestUnderNohupAClosedTerminalEndsNothing(t *testing.T) {
	cmd, stdin, exchange := waiting(t, tool.Path(t, "nohup", "coreutils"), os.Args[0], "-wait")
	exchange()
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	for range 100 { // by when it has noticed
		exchange()
	}
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait())
}

func TestASecondSignalEndsTheProgramAtOnce(t *testing.T) {
	cmd, stdin, exchange := waiting(t, os.Args[0], "-stuck")
	defer stdin.Close()
	exchange()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	require.Eventually(t, func() bool { // the second is one that comes after the first was seen
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return len(ended) > 0
	}, 30*time.Second, 10*time.Millisecond)
	require.Error(t, <-ended)
	require.Equal(t, -1, cmd.ProcessState.ExitCode(), "%v: by the signal itself", cmd.ProcessState)
}
