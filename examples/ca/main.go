// Command ca is a certificate authority whose key is in a KMS.
//
// It makes a self-signed root; signs what two servers ask for, whose own keys
// are in a KMS too, in certificate requests (PKCS #10); revokes one of the two
// certificates; and signs a revocation list (CRL). All of it goes through the
// standard library's crypto/x509, which knows nothing of KMS.
//
//	go run ./examples/ca              # roots of six kinds, in a KMS that fails; no account, no network
//	go run ./examples/ca -out papers  # and write them as PEM files, which openssl verifies
//	go run ./examples/ca -key 'awskms:///alias/root?region=eu-west-1' -out papers
//
// With -key the root's key is that one; the servers' keys stay in the process's
// own KMS. No private key is ever written: there is none to write.
//
// Every run is a CA of its own. One that goes on remembers what it issued and
// revoked, and the number of its last CRL.
package main

import (
	"context"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// faults is the KMS's bad day.
var faults = kmstest.Faults{
	Seed:     2, // that of a run with about these shares
	Latency:  kmstest.LogNormal(15*time.Millisecond, 100*time.Millisecond),
	Throttle: 0.20,
	Hang:     0.05,
}

const faultsText = "20 % throttled, 5 % hangs, 15 ms median latency with a 100 ms tail"

// kinds are the roots made where none is named.
var kinds = []kind{
	{"rsa-2048-pss", types.KeySpecRsa2048, x509.SHA256WithRSAPSS},
	{"rsa-2048", types.KeySpecRsa2048, x509.SHA256WithRSA},
	{"p-256", types.KeySpecEccNistP256, 0},
	{"p-384", types.KeySpecEccNistP384, 0},
	{"p-521", types.KeySpecEccNistP521, 0},
	{"ed25519", types.KeySpecEccNistEdwards25519, 0},
}

type kind struct {
	name      string
	spec      types.KeySpec
	algorithm x509.SignatureAlgorithm
}

func main() { command.Main("ca", run) }

type options struct {
	keyURI string
	pss    bool
	out    string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	srv := kmstest.NewServer()
	defer srv.Close()
	roots, closeRoots, err := o.roots(ctx, srv)
	if err != nil {
		return err
	}
	defer closeRoots()
	www, err := build(ctx, awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256)))
	if err != nil {
		return err
	}
	defer www.Close()
	old, err := build(ctx, awskms.New(srv.Client(), srv.CreateKey(types.KeySpecRsa2048)))
	if err != nil {
		return err
	}
	defer old.Close()

	srv.Inject(faults)
	fmt.Fprintf(stdout, "The KMS in this process: %s\n\n", faultsText)
	var made []papers
	for _, r := range roots {
		p, err := makePapers(r.name, r.key.WithContext(ctx), r.algorithm, www.WithContext(ctx), old.WithContext(ctx))
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		p.describe(stdout)
		made = append(made, p)
	}
	fmt.Fprintf(stdout, "The KMS in this process was asked to sign: %v\n", srv.Stats().Op("Sign"))
	if o.out == "" {
		return nil
	}
	return write(o.out, made, stdout)
}

// root is a key to make a root with.
type root struct {
	name      string
	key       *signer.Signer
	algorithm x509.SignatureAlgorithm
}

// roots opens the root's key, or makes one of each kind.
func (o options) roots(ctx context.Context, srv *kmstest.Server) (roots []root, closeAll func(), err error) {
	closeAll = func() {
		for _, r := range roots {
			_ = r.key.Close()
		}
	}
	if o.keyURI != "" {
		provider, err := awskms.Open(ctx, o.keyURI)
		if err != nil {
			return nil, nil, err
		}
		key, err := build(ctx, provider)
		if err != nil {
			return nil, nil, err
		}
		roots = []root{{"root", key, 0}}
		if o.pss {
			roots[0].algorithm = x509.SHA256WithRSAPSS
		}
		return roots, closeAll, nil
	}
	for _, k := range kinds {
		key, err := build(ctx, awskms.New(srv.Client(), srv.CreateKey(k.spec)))
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		roots = append(roots, root{k.name, key, k.algorithm})
	}
	return roots, closeAll, nil
}

// build puts the recommended stack around a key.
func build(ctx context.Context, p signer.KeyProvider) (*signer.Signer, error) {
	return signer.NewBuilder(p).Defaults(signer.Defaults{}).Build(ctx)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("ca", flag.ContinueOnError)
	command.KeyVar(flags, &o.keyURI, "make one root, with the key of this `URI`, awskms:///…")
	flags.BoolVar(&o.pss, "pss", false, "sign with RSA-PSS, where -key is an RSA key; default PKCS #1 v1.5")
	flags.StringVar(&o.out, "out", "", "write PEM files to this new `folder`, one folder in it for each root")
	if err := command.Parse(flags, args, 0, "[flags]\n\nMakes a root, two certificates, their requests and a revocation list with keys in a KMS.", stderr); err != nil {
		return o, err
	}
	switch {
	case o.pss && o.keyURI == "":
		return o, command.Mistakef("-pss goes with -key; without it there are roots of either kind")
	}
	if o.out != "" {
		o.out = filepath.Clean(o.out)
		if _, err := os.Lstat(o.out); err == nil {
			return o, command.Mistakef("-out is %q, which exists; name a new folder, so that no certificate is overwritten", o.out)
		}
		if _, err := os.Stat(filepath.Dir(o.out)); err != nil {
			return o, command.Mistakef("-out is %q, and the folder to make it in must be there: %w", o.out, err)
		}
	}
	return o, nil
}
