// Command jws issues and verifies JSON Web Tokens (RFC 7519) whose key is in a KMS.
//
// For each of ten algorithms it starts an issuer on the loopback interface: POST
// /token answers with a token that go-jose signed through its package
// cryptosigner, and GET /.well-known/jwks.json with the key to verify it. The
// request's context goes down to the KMS, so a caller who leaves cancels the
// signature. Then clients fetch the key, ask for tokens and verify each twice,
// with go-jose and with golang-jwt. The KMS runs in the same process, and fails
// now and then.
//
//	go run ./examples/jws            # every algorithm; no account, no network
//	go run ./examples/jws -alg PS256 # one
//	go run ./examples/jws -key 'awskms:///alias/tokens?region=eu-west-1' -alg ES256
//
// It exits with status 0 if every token was issued and verified by both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/go-jose/go-jose/v4"

	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// faults is the KMS's bad day.
var faults = kmstest.Faults{
	Seed:     1,
	Latency:  kmstest.LogNormal(10*time.Millisecond, 100*time.Millisecond),
	Throttle: 0.10,
	Internal: 0.02,
	Hang:     0.02,
	Corrupt:  0.01,
}

const faultsText = "10 % throttled, 2 % internal errors, 2 % hangs, 1 % corrupt signatures"

// algorithms are those of JWS that a KMS can sign with, and a key for each. One
// key for two of them is bad practice; a JWK names one algorithm.
var algorithms = []struct {
	name jose.SignatureAlgorithm
	spec types.KeySpec
}{
	{jose.RS256, types.KeySpecRsa2048},
	{jose.RS384, types.KeySpecRsa2048},
	{jose.RS512, types.KeySpecRsa2048},
	{jose.PS256, types.KeySpecRsa2048},
	{jose.PS384, types.KeySpecRsa2048},
	{jose.PS512, types.KeySpecRsa2048},
	{jose.ES256, types.KeySpecEccNistP256},
	{jose.ES384, types.KeySpecEccNistP384},
	{jose.ES512, types.KeySpecEccNistP521},
	{jose.EdDSA, types.KeySpecEccNistEdwards25519},
}

func main() { command.Main("jws", run) }

type options struct {
	tokens    int
	algorithm jose.SignatureAlgorithm // empty: all, or with keyURI the key's first
	keyURI    string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	srv := kmstest.NewServer()
	defer srv.Close()
	keys, err := o.open(ctx, srv)
	defer func() {
		for _, k := range keys {
			k.Close()
		}
	}()
	if err != nil {
		return err
	}
	if o.keyURI == "" {
		srv.Inject(faults)
		fmt.Fprintf(stdout, "The KMS: %s\n\n", faultsText)
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	fmt.Fprintf(stdout, "%-9s  %6s  %19s  %22s\n", "algorithm", "issued", "verified by go-jose", "verified by golang-jwt")
	for _, k := range keys {
		s, err := startServer(k.Signer, k.algorithm, log)
		if err != nil {
			return err
		}
		t, err := runClients(ctx, s.issuer.url, o.tokens)
		if err := errors.Join(err, s.close()); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%-9s  %6d  %19d  %22d\n", s.issuer.public.Algorithm, t.issued, t.byGoJose, t.byGolangJWT)
		if t.err != nil {
			return fmt.Errorf("%s: %w", s.issuer.public.Algorithm, t.err)
		}
	}
	if o.keyURI == "" {
		fmt.Fprintf(stdout, "\nThe KMS was asked to sign: %v\n", srv.Stats().Op("Sign"))
	}
	return nil
}

// key is one to issue tokens with.
type key struct {
	*signer.Signer
	algorithm jose.SignatureAlgorithm
}

// open opens the keys that o asks for, and makes those that are srv's. With an
// error it returns what it opened before.
func (o options) open(ctx context.Context, srv *kmstest.Server) ([]key, error) {
	if o.keyURI != "" {
		provider, err := awskms.Open(ctx, o.keyURI)
		if err != nil {
			return nil, err
		}
		s, err := build(ctx, provider)
		if err != nil {
			return nil, err
		}
		return []key{{s, o.algorithm}}, nil
	}
	var keys []key
	for _, a := range algorithms {
		if o.algorithm != "" && o.algorithm != a.name {
			continue
		}
		s, err := build(ctx, awskms.New(srv.Client(), srv.CreateKey(a.spec)))
		if err != nil {
			return keys, err
		}
		keys = append(keys, key{s, a.name})
	}
	return keys, nil
}

func build(ctx context.Context, provider signer.KeyProvider) (*signer.Signer, error) {
	return signer.NewBuilder(provider).Defaults(signer.Defaults{}).Build(ctx)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var names []jose.SignatureAlgorithm
	for _, a := range algorithms {
		names = append(names, a.name)
	}
	flags := flag.NewFlagSet("jws", flag.ContinueOnError)
	flags.IntVar(&o.tokens, "n", 30, "number of tokens for each algorithm")
	flags.StringVar((*string)(&o.algorithm), "alg", "", "use this `algorithm` only: "+list(names)+";\nwith -key the default is the first that fits the key")
	command.KeyVar(flags, &o.keyURI, "use the key of this `URI`, awskms:///…, in place of a KMS in the process")
	if err := command.Parse(flags, args, 0, "[flags]\n\nIssues JSON Web Tokens with keys in a KMS that fails now and then, and verifies\nthem with go-jose and with golang-jwt.", stderr); err != nil {
		return o, err
	}
	switch {
	case o.tokens < 1:
		return o, command.Mistakef("-n is %d; it must be at least 1", o.tokens)
	case o.algorithm != "" && !slices.Contains(names, o.algorithm):
		return o, command.Mistakef("-alg is %q; it must be one of %s", o.algorithm, list(names))
	}
	return o, nil
}

func list(names []jose.SignatureAlgorithm) string {
	var words []string
	for _, name := range names {
		words = append(words, string(name))
	}
	return strings.Join(words, ", ")
}
