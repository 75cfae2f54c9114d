package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/acme"

	"github.com/turretgo/turret/signer"
)

// register makes an account whose key is the client's.
func register(ctx context.Context, client *acme.Client) (*acme.Account, error) {
	account, err := client.Register(ctx, &acme.Account{}, acme.AcceptTOS)
	if err != nil {
		return nil, fmt.Errorf("registering an account: %w", err)
	}
	return account, nil
}

// obtain orders a certificate for a name, whose private key is key, and returns
// it with the certificates above it, the root excepted.
func obtain(ctx context.Context, client *acme.Client, r *responder, name string, key crypto.Signer) ([]*x509.Certificate, error) {
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(name))
	if err != nil {
		return nil, fmt.Errorf("ordering a certificate: %w", err)
	}
	for _, url := range order.AuthzURLs {
		if err := authorize(ctx, client, r, url); err != nil {
			return nil, fmt.Errorf("proving control of %s: %w", name, err)
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, fmt.Errorf("waiting for the order to be ready: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate request: %w", err)
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return nil, fmt.Errorf("fetching the certificate: %w", err)
	}
	var certs []*x509.Certificate
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// authorize proves control of a name by http-01: what the CA asks for is served
// where the name points to.
func authorize(ctx context.Context, client *acme.Client, r *responder, url string) error {
	authz, err := client.GetAuthorization(ctx, url)
	if err != nil || authz.Status == acme.StatusValid {
		return err
	}
	for _, challenge := range authz.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		answer, err := client.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return err
		}
		path := client.HTTP01ChallengePath(challenge.Token)
		r.serve(path, answer)
		defer r.remove(path)
		if _, err := client.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err = client.WaitAuthorization(ctx, url)
		return err
	}
	return errors.New("the CA offers no http-01 challenge")
}

// verify checks that a chain leads up to root, and that its leaf is for name and
// for key.
func verify(chain []*x509.Certificate, root *x509.Certificate, name string, key crypto.Signer) error {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	var chainPEM []byte
	for _, cert := range chain {
		intermediates.AddCert(cert)
		chainPEM = append(chainPEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	cert, err := signer.Certificate(chainPEM, key) // as a TLS server would load it
	if err != nil {
		return err
	}
	_, err = cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: intermediates})
	return err
}

// rollOver gives the client's account another key, and signs with that.
func rollOver(ctx context.Context, client *acme.Client, key crypto.Signer) error {
	if err := client.AccountKeyRollover(ctx, key); err != nil {
		return fmt.Errorf("changing the account's key: %w", err)
	}
	if _, err := client.GetReg(ctx, ""); err != nil {
		return fmt.Errorf("asking for the account with its new key: %w", err)
	}
	return nil
}
