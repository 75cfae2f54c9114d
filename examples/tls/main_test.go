package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret/examples/internal/tool"
	"github.com/turretgo/turret/signer/kmstest"
)

// The plain signer goes on retrying when nobody waits for it any more: it has no
// context. All else ends.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/turretgo/turret/examples/tls.(*plainSigner).Sign"))
}

func TestTheStackLosesNoHandshake(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-n", "200", "-clients", "16", "-mutual", "0"}, &out, io.Discard))
	t.Log("\n" + out.String())
	require.Regexp(t, `plain SDK signer\s+200\s`, out.String())
	require.Regexp(t, `turret\s+200\s+0\s+0\s`, out.String())
	require.Contains(t, out.String(), "signer ECDSA P-256\ntimeout 10s\nretry 100 attempts")
}

func TestMistakesOnTheCommandLineGetOneClearLine(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-nope"}, "flag provided but not defined: -nope; -h lists the flags"},
		{[]string{"extra"}, `"extra" is no flag; -h lists them`},
		{[]string{"-n", "0"}, "-n is 0 and -clients 16; both must be at least 1"},
		{[]string{"-mutual", "-1"}, "-mutual is -1; it must be at least 0"},
		{[]string{"-spec", "P-224"}, `-spec is "P-224"; it must be P-256, P-384, P-521, RSA-2048 or Ed25519`},
		{[]string{"-listen", "nowhere:xyz"}, "listen tcp"},
		{[]string{"-key", "kms:foo"}, "is no key URI"},
	} {
		var out, stderr strings.Builder
		err := run(t.Context(), tc.args, &out, &stderr)
		require.ErrorContains(t, err, tc.want)
		require.NotContains(t, err.Error(), "\n")
		require.Empty(t, stderr.String())
	}
	var help strings.Builder
	require.Error(t, run(t.Context(), []string{"-h"}, io.Discard, &help))
	require.Contains(t, help.String(), "-listen")
}

func TestAKeyOfAnotherKMSIsUsedByTheStackAlone(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	srv := kmstest.NewServer()
	defer srv.Close()
	uri := "awskms:///" + srv.CreateKey(types.KeySpecEccNistP384) + "?region=us-east-1&endpoint=" + srv.Endpoint()
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-n", "20", "-clients", "4", "-key", uri}, &out, io.Discard))
	require.Regexp(t, `turret\s+20\s+0\s+0\s`, out.String())
	require.NotContains(t, out.String(), "plain SDK signer")
	require.GreaterOrEqual(t, srv.Stats().Op("Sign").OK, 20, "one each, and those that came too late on a busy machine")
}

func TestInterruptEndsARun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := run(ctx, []string{"-n", "1000000"}, io.Discard, io.Discard)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// output is a buffer that a test reads while run writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
	new chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() {
		select {
		case o.new <- struct{}{}:
		default:
		}
	}()
	return o.buf.Write(p)
}

func (o *output) match(t *testing.T, re string) []string {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		o.mu.Lock()
		found := regexp.MustCompile(re).FindStringSubmatch(o.buf.String())
		o.mu.Unlock()
		if found != nil {
			return found
		}
		select {
		case <-o.new:
		case <-deadline:
			t.Fatalf("no %q in %s", re, o.buf.String())
		}
	}
}

// listening runs the example with -listen and returns its CA's file and its port.
func listening(t *testing.T, spec string) (caFile, port string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out := &output{new: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-listen", "127.0.0.1:0", "-spec", spec}, out, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	found := out.match(t, `curl --cacert (\S+) https://localhost:(\d+)/`)
	return found[1], found[2]
}

func TestCurlAndOpenSSLCompleteHandshakes(t *testing.T) {
	openssl, curl := tool.Path(t, "openssl", "openssl"), tool.Path(t, "curl", "curl")
	for _, spec := range []string{"P-256", "P-384", "RSA-2048", "Ed25519"} {
		t.Run(spec, func(t *testing.T) {
			caFile, port := listening(t, spec)
			for version, flags := range map[string][2]string{"1.2": {"-tls1_2", "1.2"}, "1.3": {"-tls1_3", "1.3"}} {
				t.Run("openssl "+version, func(t *testing.T) {
					cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", net.JoinHostPort("127.0.0.1", port), "-servername", "localhost",
						"-CAfile", caFile, "-verify_return_error", "-verify_hostname", "localhost", flags[0])
					cmd.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
					out, err := cmd.CombinedOutput()
					require.NoError(t, err, string(out))
					require.Contains(t, string(out), "Verify return code: 0 (ok)")
					require.Contains(t, string(out), "TLSv"+version)
				})
				t.Run("curl "+version, func(t *testing.T) {
					cmd := exec.CommandContext(t.Context(), curl, "-sS", "--cacert", caFile, "--resolve", "localhost:"+port+":127.0.0.1",
						"--tlsv"+flags[1], "--tls-max", flags[1], fmt.Sprintf("https://localhost:%s/", port))
					out, err := cmd.CombinedOutput()
					require.NoError(t, err, string(out))
					require.Equal(t, "Signed by a key that was never here.\n", string(out))
				})
			}
		})
	}
}
