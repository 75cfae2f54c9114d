// Package kmsproc is a kmstest server in a process of its own, so that what a
// signer costs is not mixed with what its KMS does.
//
// The program that imports it runs itself once more with [Arg] as its only
// arguments, and calls [Serve] then.
package kmsproc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/turretgo/turret/bench/faults"
	"github.com/turretgo/turret/signer/kmstest"
)

// Arg is the argument that makes a program a KMS.
const Arg = "kms"

const controlVar = "TURRET_BENCH_KMS"

// A KMS is a server elsewhere, with one P-256 key.
type KMS struct {
	Endpoint string // http://127.0.0.1:…, or https
	Control  string // where it is told what to do
	KeyID    string
	CAFile   string // of an https endpoint

	stdin io.Closer
	cmd   *exec.Cmd
}

// Start starts a KMS, with TLS in front of it if secure is set.
func Start(ctx context.Context, secure bool) (*KMS, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{Arg}
	if secure {
		args = append(args, "tls")
	}
	k := &KMS{cmd: exec.CommandContext(ctx, self, args...)}
	k.cmd.Stderr = os.Stderr
	k.cmd.Env = clean(os.Environ())
	stdin, err := k.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	k.stdin = stdin
	stdout, err := k.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := k.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, k)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the KMS did not start: %w", err), k.Close())
	}
	return k, nil
}

// Close ends the process.
func (k *KMS) Close() error {
	return errors.Join(k.stdin.Close(), k.cmd.Wait())
}

// Env is an environment in which the SDK's configuration leads to the KMS, and
// FromEnv to k.
func (k *KMS) Env() []string {
	env := append(clean(os.Environ()),
		"AWS_ENDPOINT_URL_KMS="+k.Endpoint,
		"AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=AKIDBENCH",
		"AWS_SECRET_ACCESS_KEY=bench",
		"AWS_CONFIG_FILE="+os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
		"AWS_EC2_METADATA_DISABLED=true",
	)
	if k.CAFile != "" {
		env = append(env, "AWS_CA_BUNDLE="+k.CAFile)
	}
	text, _ := json.Marshal(k)
	return append(env, controlVar+"="+string(text))
}

// FromEnv returns the KMS that Env told of.
func FromEnv() (*KMS, error) {
	k := new(KMS)
	if err := json.Unmarshal([]byte(os.Getenv(controlVar)), k); err != nil {
		return nil, fmt.Errorf("there is no KMS in %s: %w", controlVar, err)
	}
	return k, nil
}

// clean is an environment without this machine's AWS configuration.
func clean(environ []string) []string {
	var env []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, controlVar) {
			env = append(env, v)
		}
	}
	return env
}

// Inject injects the faults of a scenario's phase.
func (k *KMS) Inject(s faults.Scenario, phase int) error {
	return k.call("inject", url.Values{"scenario": {s.Name}, "phase": {fmt.Sprint(phase)}}, nil)
}

// Latency makes every answer take d, and ends all faults.
func (k *KMS) Latency(d time.Duration) error {
	return k.call("latency", url.Values{"d": {d.String()}}, nil)
}

// Stats returns the counts of Sign.
func (k *KMS) Stats() (kmstest.Counts, error) {
	s, err := k.AllStats()
	return s.Op("Sign"), err
}

// AllStats returns the server's statistics.
func (k *KMS) AllStats() (kmstest.Stats, error) {
	var s kmstest.Stats
	return s, k.call("stats", nil, &s)
}

var client = &http.Client{Timeout: 10 * time.Second}

func (k *KMS) call(what string, values url.Values, answer any) error {
	resp, err := client.PostForm(k.Control+"/"+what, values)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("KMS, asked to %s: %s", what, body)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(body, answer)
}
