// Command tls shows what a stack is worth to a TLS server whose private key lives
// in a KMS.
//
// It runs a KMS in its own process, with a published mix of faults, and an HTTPS
// server on the loopback interface whose key is in that KMS; then it drives the
// same load of TLS 1.3 handshakes at it twice: once with a signer as one writes
// it on the plain SDK, and once with turret's stack around the key. Some more
// handshakes, of TLS 1.2 and 1.3, are mutual: the client's key is in the KMS, too.
//
//	go run ./examples/tls                       # compare the two; no account, no network
//	go run ./examples/tls -listen 127.0.0.1:8443 # keep serving, for curl or openssl
//	go run ./examples/tls -key 'awskms:///alias/web?region=eu-west-1'
//
// It exits with status 0 if the stack lost no handshake.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// faults is the KMS's bad day.
var faults = kmstest.Faults{
	Seed:     1,
	Latency:  kmstest.LogNormal(15*time.Millisecond, 400*time.Millisecond),
	Throttle: 0.10,
	Internal: 0.02,
	Reset:    0.01,
	Hang:     0.01,
	Corrupt:  0.005,
}

const faultsText = "10 % throttled, 2 % internal errors, 1 % resets, 1 % hangs, 0.5 % corrupt signatures,\n15 ms median latency with a 400 ms tail"

func main() { command.Main("tls", run) }

type options struct {
	handshakes int
	mutual     int
	clients    int
	listen     string
	keyURI     string
	spec       string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	srv := kmstest.NewServer()
	defer srv.Close()
	provider, keyID, err := o.provider(ctx, srv)
	if err != nil {
		return err
	}
	key, err := buildKey(ctx, provider)
	if err != nil {
		return err
	}
	defer key.Close()
	var clientKey *signer.Signer // for mutual TLS; a KMS of somebody else's is asked for one key only
	if keyID != "" {
		clientKey, err = buildKey(ctx, awskms.New(srv.Client(), srv.CreateKey(specs[o.spec])))
		if err != nil {
			return err
		}
		defer clientKey.Close()
		srv.Inject(faults)
		fmt.Fprintf(stdout, "The KMS: %s\n\n", faultsText)
	}
	fmt.Fprintf(stdout, "The stack:\n\n%s\n\n", turret.Describe(key))
	if o.listen != "" {
		return serve(ctx, o.listen, key, stdout)
	}

	var rows []row
	if keyID != "" { // the plain signer is for kmstest; a real KMS is asked by the stack alone
		rows = append(rows, row{name: "plain SDK signer", key: &plainSigner{srv.Client(), keyID, key.Public()}})
	}
	rows = append(rows, row{name: "turret", key: key})
	for i := range rows {
		before := srv.Stats().Op("Sign").Requests
		if err := rows[i].measure(ctx, o, stderr); err != nil {
			return err
		}
		rows[i].kmsCalls = srv.Stats().Op("Sign").Requests - before
	}
	printTable(stdout, rows)
	if last := rows[len(rows)-1]; last.failed > 0 {
		return fmt.Errorf("the stack lost %d handshakes, the first with: %w", last.failed, last.err)
	}
	if clientKey == nil || o.mutual == 0 {
		return nil
	}
	kmsCalls := func() int { return srv.Stats().Op("Sign").Requests }
	return runMutual(ctx, o, key, clientKey, kmsCalls, stdout, stderr)
}

// buildKey puts the stack around a key.
func buildKey(ctx context.Context, provider signer.KeyProvider) (*signer.Signer, error) {
	return signer.NewBuilder(provider).Defaults(signer.Defaults{}).Build(ctx)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("tls", flag.ContinueOnError)
	flags.IntVar(&o.handshakes, "n", 1000, "number of handshakes in each run")
	flags.IntVar(&o.mutual, "mutual", 100, "number of handshakes with mutual TLS, in each of its versions; not with -key")
	flags.IntVar(&o.clients, "clients", 16, "number of clients at once")
	flags.StringVar(&o.listen, "listen", "", "keep serving HTTPS on this `address`, in place of the runs")
	command.KeyVar(flags, &o.keyURI, "use the key of this `URI`, awskms:///…, in place of a KMS in the process;\nits faults are its own, and only the stack runs")
	flags.StringVar(&o.spec, "spec", "P-256", "type of the key in the process's own KMS: P-256, P-384, P-521, RSA-2048 or Ed25519")
	if err := command.Parse(flags, args, 0, "[flags]\n\nServes TLS with a key in a KMS that fails, through a plain SDK signer and through\nturret's stack, and compares the handshakes that each one lost.", stderr); err != nil {
		return o, err
	}
	switch {
	case o.mutual < 0:
		return o, command.Mistakef("-mutual is %d; it must be at least 0", o.mutual)
	case o.handshakes < 1 || o.clients < 1:
		return o, command.Mistakef("-n is %d and -clients %d; both must be at least 1", o.handshakes, o.clients)
	case specs[o.spec] == "":
		return o, command.Mistakef("-spec is %q; it must be P-256, P-384, P-521, RSA-2048 or Ed25519", o.spec)
	}
	return o, nil
}

var specs = map[string]types.KeySpec{
	"P-256":    types.KeySpecEccNistP256,
	"P-384":    types.KeySpecEccNistP384,
	"P-521":    types.KeySpecEccNistP521,
	"RSA-2048": types.KeySpecRsa2048,
	"Ed25519":  types.KeySpecEccNistEdwards25519,
}

// provider returns where the key comes from, and its id if that is srv.
func (o options) provider(ctx context.Context, srv *kmstest.Server) (signer.KeyProvider, string, error) {
	if o.keyURI != "" {
		provider, err := awskms.Open(ctx, o.keyURI)
		return provider, "", err
	}
	keyID := srv.CreateKey(specs[o.spec])
	return awskms.New(srv.Client(), keyID), keyID, nil
}
