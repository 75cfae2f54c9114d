package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/signer"
)

// authority is a CA made for one run, whose own key is in memory.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "turret example CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

// issue makes a certificate for localhost, whose private key is key.
func (a *authority) issue(key crypto.Signer) (tls.Certificate, error) {
	return a.certify(key, &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

func (a *authority) certify(key crypto.Signer, template *x509.Certificate) (tls.Certificate, error) {
	template.NotBefore, template.NotAfter = a.cert.NotBefore, a.cert.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return signer.Certificate(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key)
}

// pool returns what trusts the CA.
func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// server is an HTTPS server whose key is held elsewhere.
type server struct {
	http http.Server
	ca   *authority
	addr net.Addr
	done chan error
}

func startServer(address string, key crypto.Signer) (*server, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	cert, err := ca.issue(key)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, command.Mistakef("%w", err)
	}
	s := &server{ca: ca, addr: listener.Addr(), done: make(chan error, 1)}
	s.http = http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "Signed by a key that was never here.")
		}),
		TLSConfig: &tls.Config{
			GetCertificate: signer.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }),
		},
		ErrorLog: log.New(io.Discard, "", 0), // the clients count what failed
	}
	go func() { s.done <- s.http.ServeTLS(listener, "", "") }()
	return s, nil
}

func (s *server) close() error {
	err := s.http.Close()
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// serve serves until ctx ends, and says how to look at it.
func serve(ctx context.Context, address string, key crypto.Signer, stdout io.Writer) (err error) {
	s, err := startServer(address, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	dir, err := os.MkdirTemp("", "turret-tls-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	caFile := filepath.Join(dir, "ca.pem")
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.cert.Raw})
	if err := os.WriteFile(caFile, caPEM, 0o600); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.addr.String())
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Serving until interrupted. Try\n\n  curl --cacert %s https://localhost:%s/\n  openssl s_client -CAfile %s -connect localhost:%s -verify_return_error\n\n", caFile, port, caFile, port)
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.done:
		s.done <- err
		return err
	}
}
