//go:build cgo

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/signer"
)

const defaultHungAfter = 5 * time.Second

func main() { command.Main("pkcs11", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	t := &token{pin: os.Getenv("PKCS11_PIN")}
	flags := flag.NewFlagSet("pkcs11", flag.ContinueOnError)
	flags.StringVar(&t.module, "module", "", "the PKCS #11 library; that of SoftHSM if empty")
	flags.StringVar(&t.label, "token", "", "the label of your token, whose PIN is in PKCS11_PIN; a throw-away token if empty")
	flags.StringVar(&t.key, "label", "", "the label of your key pair")
	flags.DurationVar(&t.hungAfter, "hung-after", defaultHungAfter, "how long an operation may take before the token is opened again; longer where a person has to touch it")
	if err := command.Parse(flags, args, 0, "[flags]\n\nSigns with a key in a PKCS #11 token, which may be pulled in the middle.", stderr); err != nil {
		return err
	}
	if t.module == "" {
		var err error
		if t.module, err = findSoftHSM(); err != nil {
			return err
		}
	}
	if t.label == "" {
		return demonstrate(ctx, t.module, stdout)
	}
	if t.key == "" || t.pin == "" {
		return command.Mistakef("-token needs -label, the key pair's, and the PIN in the environment variable PKCS11_PIN")
	}
	key, err := newSigner(ctx, t, func(err error) { fmt.Fprintln(stderr, "pkcs11: opening the token again:", err) })
	if err != nil {
		return err
	}
	return errors.Join(signOne(ctx, key, "Signed by a key that never left its token.", stdout), key.Close())
}

// demonstrate signs with a throw-away token, whose sessions are killed now and
// then.
func demonstrate(ctx context.Context, module string, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "pkcs11")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t, err := newToken(ctx, module, dir)
	if err != nil {
		return err
	}
	if err := t.generate(elliptic.P256()); err != nil {
		return err
	}
	key, err := newSigner(ctx, t, func(err error) { fmt.Fprintf(w, "  broken, and opened again: %v\n", err) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, key.Close()) }()
	fmt.Fprintf(w, "%s\n\n", turret.Describe(key))

	const signatures = 9
	for i := range signatures {
		if i%3 == 2 {
			fmt.Fprintln(w, "the token is pulled, and put back")
			if err := t.pull(); err != nil {
				return err
			}
		}
		if err := signOne(ctx, key, fmt.Sprintf("Message %d.", i+1), w); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "\n%d signatures, and the token was pulled %d times\n", signatures, signatures/3)
	return nil
}

// signOne signs a message. That it verifies, the stack has seen to.
func signOne(ctx context.Context, key *signer.Signer, message string, w io.Writer) error {
	hash := hashFor(key.Public())
	h := hash.New()
	io.WriteString(h, message)
	sig, err := key.SignContext(ctx, rand.Reader, h.Sum(nil), hash)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "signed: %x…\n", sig[:16])
	return nil
}

// hashFor returns the hash that goes with a key: with ECDSA, as long as the curve.
func hashFor(pub crypto.PublicKey) crypto.Hash {
	if ec, ok := pub.(*ecdsa.PublicKey); ok {
		switch ec.Curve {
		case elliptic.P384():
			return crypto.SHA384
		case elliptic.P521():
			return crypto.SHA512
		}
	}
	return crypto.SHA256
}
