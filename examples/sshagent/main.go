// Command sshagent is an ssh-agent whose private keys live in a KMS.
//
// OpenSSH, git and everything else that asks an ssh-agent for signatures gets
// them from turret's stack around each key: a KMS that throttles or hangs for a
// moment costs nobody a login.
//
//	go run ./examples/sshagent    # three keys in a KMS in the process; no account, no network
//	go run ./examples/sshagent -socket ~/.ssh/kms/agent.sock -key 'awskms:///alias/ssh?region=eu-west-1'
//
// It prints the SSH_AUTH_SOCK to set, and serves until it is interrupted. Who
// asked for what, and what became of it, is logged on standard error. The agent
// protocol itself knows one word for whatever goes wrong, "failure".
//
// # Streams
//
// The shape is that of the socket handlers of Fuchsia's Netstack3: every
// connection is a stream of requests, answered one after another in the order in
// which they came, and all streams are merged into the services of the same keys.
// When a stream ends, what was under way for it is cancelled; when the last one
// has ended, the keys are closed.
//
// There, one task owns the handler and polls all its streams. Package buffer is
// that task in turret, and it is what a smart card needs, which bears one
// operation at a time. A key in a KMS bears any number. One worker for all would
// have every login in the company wait behind one slow call, and so would, for
// those who share a key, a worker for each key. Here, therefore, each stream has
// a goroutine of its own, which takes the place of the worker, and a copy of each
// key bound to its context ([signer.Signer.WithContext]), which takes the place of
// the clone. Requests of different connections are signed at the same time, and
// meet where they should: in the key's rate limit, retry budget and breaker.
//
// # What is signed
//
// RSA keys sign rsa-sha2-256 and rsa-sha2-512. A request for ssh-rsa, which is
// SHA-1, is refused; so is anything else that would need another private key than
// those named on the command line. Ed25519 signs messages of up to 4096 bytes,
// the most that KMS takes: a login has a few hundred, and SSHSIG, which git and
// ssh-keygen -Y make, signs a hash.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// faults is the day that the KMS in the process has.
var faults = kmstest.Faults{
	Seed:     1,
	Latency:  kmstest.LogNormal(15*time.Millisecond, 400*time.Millisecond),
	Throttle: 0.10,
	Hang:     0.01,
}

func main() {
	// x/crypto's agent prints failures here, and cannot say whose. Those of this
	// agent go to slog, by connection.
	log.SetOutput(io.Discard)

	command.Main("sshagent", run)
}

type options struct {
	socket string
	keys   []string
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	srv := kmstest.NewServer()
	defer srv.Close()
	sources, err := o.sources(ctx, srv)
	if err != nil {
		return err
	}
	ring, err := openKeys(ctx, sources)
	if err != nil {
		return err
	}
	defer ring.close()
	if o.socket == "" {
		dir, err := os.MkdirTemp("", "sshagent") // for its owner only
		if err != nil {
			return err
		}
		defer os.Remove(dir)
		o.socket = filepath.Join(dir, "agent.sock")
	}
	ln, err := listen(o.socket)
	if err != nil {
		return err
	}
	greet(stdout, o.socket)
	if len(o.keys) == 0 {
		srv.Inject(faults)
		fmt.Fprint(stdout, "\nThe keys are in a KMS in this process, which throttles 10 % of requests, hangs on 1 %\nand forgets its keys when it ends. -key serves one of yours.\n")
	}
	agent := server{keys: ring, log: slog.New(slog.NewTextHandler(stderr, nil))}
	return agent.serve(ctx, ln)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("sshagent", flag.ContinueOnError)
	flags.StringVar(&o.socket, "socket", "", "listen on this `path`; its folder is made, or must be nobody else's to enter\n(default: in a new folder that is removed in the end)")
	flags.Func("key", "serve the key of this `URI`, awskms:///…, in place of a KMS in the process;\ncan be given several times", func(uri string) error {
		o.keys = append(o.keys, uri)
		return nil
	})
	err := command.Parse(flags, args, 0, "[flags]\n\nAn ssh-agent whose keys are in a KMS. It serves until it is interrupted.", stderr)
	if err == nil && o.socket != "" {
		o.socket, err = filepath.Abs(o.socket) // for shells in other folders; and "@name" is in none
	}
	return o, err
}

// source is where a key comes from, and what it is called in lists and logs.
type source struct {
	name     string
	provider signer.KeyProvider
}

// sources returns the keys of the command line, or some in srv if it has none.
func (o options) sources(ctx context.Context, srv *kmstest.Server) ([]source, error) {
	var sources []source
	for _, uri := range o.keys {
		provider, err := awskms.Open(ctx, uri)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source{uri, provider})
	}
	if len(sources) > 0 {
		return sources, nil
	}
	for _, demo := range []struct {
		alias string
		spec  types.KeySpec
	}{
		{"alias/ed25519", types.KeySpecEccNistEdwards25519},
		{"alias/p256", types.KeySpecEccNistP256},
		{"alias/rsa", types.KeySpecRsa2048},
	} {
		srv.SetAlias(demo.alias, srv.CreateKey(demo.spec))
		sources = append(sources, source{demo.alias, awskms.New(srv.Client(), demo.alias)})
	}
	return sources, nil
}

// openKeys puts turret's recommended stack around each key.
func openKeys(ctx context.Context, sources []source) (*keyring, error) {
	var ring keyring
	for _, s := range sources {
		key, err := signer.NewBuilder(s.provider).Defaults(signer.Defaults{}).Build(ctx)
		if err == nil {
			err = ring.add(s.name, key)
		}
		if err != nil {
			ring.close()
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return &ring, nil
}

func greet(w io.Writer, socket string) {
	fmt.Fprintf(w, `SSH_AUTH_SOCK=%s; export SSH_AUTH_SOCK

Set it in another shell, and try

  ssh-add -l                                     # the keys
  ssh-add -L > keys.pub                          # for a server's authorized_keys
  head -1 keys.pub > key.pub
  echo hello | ssh-keygen -Y sign -n file -f key.pub > hello.sig
  echo hello | ssh-keygen -Y check-novalidate -n file -s hello.sig
  git -c gpg.format=ssh -c user.signingkey=key.pub commit -S
`, quote(socket))
}

// quote makes one word of s for a shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
