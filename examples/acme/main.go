// Command acme orders a certificate from an ACME CA, as Let's Encrypt is one,
// with golang.org/x/crypto/acme and no private key in its memory: neither the
// account's nor the certificate's.
//
// Both are in a KMS in the program's own process, which throttles one request in
// five. The CA is Pebble, Let's Encrypt's server for tests, in the same process:
// it checks control of the name by http-01 over the loopback interface, and
// refuses one good nonce in twenty, as it does by default. Then the account is
// moved to another key in the KMS.
//
//	go run ./examples/acme                 # no account, no network
//	go run ./examples/acme -spec RSA-2048  # RS256 in place of ES256
//	go run ./examples/acme -key 'awskms:///alias/acme?region=eu-west-1'
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// domain is nobody's: RFC 2606 reserves it.
const domain = "www.example.com"

func main() { command.Main("acme", run) }

type options struct {
	keyURI string
	spec   string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	srv := kmstest.NewServer()
	defer srv.Close()
	srv.Inject(kmstest.Faults{Seed: 1, Throttle: 0.20})
	keys, err := openKeys(ctx, srv, o)
	if err != nil {
		return err
	}
	defer keys.close()

	ca, err := startAuthority()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ca.close()) }()

	client := ca.client(keys.account.WithContext(ctx))
	account, err := register(ctx, client)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Account      %s, whose key is %s in a KMS\n", account.URI, keyType(keys.account))

	chain, err := obtain(ctx, client, ca.challenges, domain, keys.certificate.WithContext(ctx))
	if err != nil {
		return err
	}
	if err := verify(chain, ca.root, domain, keys.certificate); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Certificate  for %s, whose key is %s in a KMS\n", domain, keyType(keys.certificate))
	for _, cert := range chain {
		fmt.Fprintf(stdout, "  %s, issued by %s\n", subject(cert), cert.Issuer.CommonName)
	}
	fmt.Fprintf(stdout, "It verifies up to %s.\n", ca.root.Subject.CommonName)

	if err := rollOver(ctx, client, keys.next.WithContext(ctx)); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "The account has another key now, and the CA takes its signatures.\n")
	stats := srv.Stats().Op("Sign")
	fmt.Fprintf(stdout, "The KMS was asked for %d signatures, and throttled %d of the requests.\n", stats.Requests, stats.Throttled)
	return nil
}

// keyType names a key's type: "ECDSA P-256".
func keyType(s *signer.Signer) string { return strings.TrimPrefix(s.String(), "signer ") }

// subject names a certificate by its subject, or by what it is for: a CA needs
// no more than that.
func subject(cert *x509.Certificate) string {
	if cert.Subject.CommonName == "" && len(cert.DNSNames) > 0 {
		return cert.DNSNames[0]
	}
	return cert.Subject.CommonName
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("acme", flag.ContinueOnError)
	command.KeyVar(flags, &o.keyURI, "use the key of this `URI`, awskms:///…, for the account at first")
	flags.StringVar(&o.spec, "spec", "P-256", "type of the account's keys in the process's own KMS: P-256, P-384, P-521 or RSA-2048")
	if err := command.Parse(flags, args, 0, "[flags]\n\nOrders a certificate from an ACME CA in the process, with keys in a KMS.", stderr); err != nil {
		return o, err
	}
	switch {
	case specs[o.spec] == "":
		return o, command.Mistakef("-spec is %q; it must be P-256, P-384, P-521 or RSA-2048, which ACME has algorithms for", o.spec)
	}
	return o, nil
}

// specs are those of the keys that x/crypto/acme can sign a request with.
var specs = map[string]types.KeySpec{
	"P-256":    types.KeySpecEccNistP256,
	"P-384":    types.KeySpecEccNistP384,
	"P-521":    types.KeySpecEccNistP521,
	"RSA-2048": types.KeySpecRsa2048,
}

// keys are the private keys of one run.
type keys struct {
	account     *signer.Signer
	next        *signer.Signer // the account's, later
	certificate *signer.Signer
}

func openKeys(ctx context.Context, srv *kmstest.Server, o options) (*keys, error) {
	account := awskms.New(srv.Client(), srv.CreateKey(specs[o.spec]))
	if o.keyURI != "" {
		var err error
		if account, err = awskms.Open(ctx, o.keyURI); err != nil {
			return nil, err
		}
	}
	k := &keys{}
	for _, open := range []struct {
		key  **signer.Signer
		from signer.KeyProvider
	}{
		{&k.account, account},
		{&k.next, awskms.New(srv.Client(), srv.CreateKey(specs[o.spec]))},
		{&k.certificate, awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))},
	} {
		s, err := signer.NewBuilder(open.from).Defaults(signer.Defaults{}).Build(ctx)
		if err != nil {
			k.close()
			return nil, err
		}
		*open.key = s
	}
	return k, nil
}

func (k *keys) close() {
	for _, s := range []*signer.Signer{k.account, k.next, k.certificate} {
		if s != nil {
			_ = s.Close()
		}
	}
}
