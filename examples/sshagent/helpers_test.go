package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh/agent"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // as main does
	goleak.VerifyTestMain(m)
}

// allKeys are the keys that SSH and KMS have in common, by their comments.
var allKeys = map[string]types.KeySpec{
	"ed25519": types.KeySpecEccNistEdwards25519,
	"p256":    types.KeySpecEccNistP256,
	"p384":    types.KeySpecEccNistP384,
	"p521":    types.KeySpecEccNistP521,
	"rsa":     types.KeySpecRsa2048,
}

// sources makes keys in srv, which gets an alias for each.
func sources(srv *kmstest.Server, keys map[string]types.KeySpec) []source {
	var list []source
	for name, spec := range keys {
		srv.SetAlias("alias/"+name, srv.CreateKey(spec))
		list = append(list, source{name, awskms.New(srv.Client(), "alias/"+name)})
	}
	return list
}

// running is an agent that serves, the KMS with its keys, and its log.
type running struct {
	kms    *kmstest.Server
	socket string
	log    *output
	stop   func() // interrupts it, and waits until it has ended
}

// start runs an agent with these keys of a KMS until the test ends.
func start(t *testing.T, keys map[string]types.KeySpec) *running {
	t.Helper()
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	ring, err := openKeys(t.Context(), sources(srv, keys))
	require.NoError(t, err)
	return serving(t, srv, server{keys: ring})
}

// patient is an agent with one key, whose signatures nothing ends but their client.
func patient(t *testing.T) *running {
	t.Helper()
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	key, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))).Timeout(time.Hour).Build(t.Context())
	require.NoError(t, err)
	var ring keyring
	require.NoError(t, ring.add("patient", key))
	return serving(t, srv, server{keys: &ring})
}

func serving(t *testing.T, srv *kmstest.Server, s server) *running {
	t.Helper()
	r := &running{kms: srv, socket: filepath.Join(folder(t), "agent.sock"), log: &output{}}
	s.log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ln, err := listen(r.socket)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, ln) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serving: %v", err)
		}
		s.keys.close()
	})
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Log("the agent's log:\n" + r.log.String())
		}
	})
	return r
}

// folder makes a folder with a short path, which a socket's is bound to have.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sshagent-test")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (r *running) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", r.socket)
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (r *running) client(t *testing.T) agent.ExtendedAgent {
	t.Helper()
	return agent.NewClient(r.dial(t))
}

// key returns the public key with this comment.
func (r *running) key(t *testing.T, name string) *agent.Key {
	t.Helper()
	keys, err := r.client(t).List()
	require.NoError(t, err)
	for _, k := range keys {
		if k.Comment == name {
			return k
		}
	}
	t.Fatalf("the agent lists no key %s", name)
	return nil
}

// eventually waits until a condition holds.
func eventually(t *testing.T, holds func() bool, what string) {
	t.Helper()
	require.Eventually(t, holds, 30*time.Second, time.Millisecond, what)
}

func (r *running) logs(t *testing.T, text string) {
	t.Helper()
	eventually(t, func() bool { return bytes.Contains([]byte(r.log.String()), []byte(text)) }, "the log has no "+text)
}

// output is a buffer that a test reads while others write.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
