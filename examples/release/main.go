// Command release signs a file with a key in a KMS, as a release pipeline does.
//
// It writes a detached signature, FILE.sig, and the public key, FILE.pub.pem,
// and prints the openssl command that verifies the one with the other.
//
//	go run ./examples/release              # sign with each type of key in a KMS that fails, and let openssl verify
//	go run ./examples/release FILE         # with a throw-away key
//	go run ./examples/release -key 'awskms:///alias/release?region=eu-west-1' FILE
//
// What is written is written whole or not at all; a signature of an earlier run
// stays until a new one replaces it. Files of any size are signed, except with
// Ed25519 keys, which sign no digest: KMS takes 4096 bytes of them at most.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// faults is the bad day of the KMS in this process.
var faults = kmstest.Faults{
	Seed:     1,
	Latency:  kmstest.LogNormal(15*time.Millisecond, 100*time.Millisecond),
	Throttle: 0.30,
	Hang:     0.10,
	Corrupt:  0.10,
}

const faultsText = "30 % throttled, 10 % hangs, 10 % corrupt signatures"

func main() { command.Main("release", run) }

type options struct {
	file   string
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
	if o.file == "" {
		return demo(ctx, srv, stdout)
	}
	provider, err := o.provider(ctx, srv)
	if err != nil {
		return err
	}
	key, err := build(ctx, provider)
	if err != nil {
		return err
	}
	defer key.Close()
	r, err := release(ctx, key, o.pss, o.file, cmp.Or(o.out, filepath.Dir(o.file)))
	if err != nil {
		return err
	}
	if o.keyURI == "" {
		fmt.Fprintln(stdout, "Signed with a throw-away key; -key names a real one.")
	}
	fmt.Fprintf(stdout, "%s: %s, %s\nVerify it with\n\n  %s\n", r.sigFile, r.scheme.name, r.pubFile, r.command())
	return nil
}

// build puts the recommended stack around a key.
func build(ctx context.Context, p signer.KeyProvider) (*signer.Signer, error) {
	return signer.NewBuilder(p).Defaults(signer.Defaults{}).Build(ctx)
}

// provider returns where the key comes from: a KMS, or a throw-away one in srv.
func (o options) provider(ctx context.Context, srv *kmstest.Server) (signer.KeyProvider, error) {
	switch {
	case o.keyURI != "":
		return awskms.Open(ctx, o.keyURI)
	case o.pss:
		return awskms.New(srv.Client(), srv.CreateKey(types.KeySpecRsa2048)), nil
	}
	return awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256)), nil
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	command.KeyVar(flags, &o.keyURI, "sign with the key of this `URI`, awskms:///…, in place of a throw-away one")
	flags.BoolVar(&o.pss, "pss", false, "sign with RSA-PSS, where the key is an RSA key; default PKCS #1 v1.5")
	flags.StringVar(&o.out, "out", "", "write to this `folder`, in place of the file's own")
	if err := command.Parse(flags, args, 1, "[flags] [FILE]\n\nSigns a file with a key in a KMS, so that openssl verifies it: writes FILE.sig and FILE.pub.pem.\nWithout FILE it shows itself with each type of key.", stderr); err != nil {
		return o, err
	}
	if o.file = flags.Arg(0); o.file == "" && len(args) > 0 {
		return o, command.Mistakef("there is no file to sign; name it after the flags")
	}
	return o, nil
}
