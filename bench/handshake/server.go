// Package handshake measures how many TLS handshakes a second a server completes
// whose key is in a KMS.
//
// Every handshake is a full one of TLS 1.3, across loopback, with a client that
// verifies the certificate and goes away; the next follows at once. Server and
// clients are in one process, the KMS is in another, and where they compete for
// the same few cores, what a signer costs in CPU is what limits it.
package handshake

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/turretgo/turret/signer"
)

// A Server is a TLS server that does nothing but handshakes.
type Server struct {
	listener net.Listener
	config   *tls.Config
	roots    *x509.CertPool
	serving  sync.WaitGroup
}

// NewServer starts a server whose certificate's key is key.
func NewServer(key crypto.Signer) (*Server, error) {
	cert, roots, err := certify(key)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
	if _, ok := key.(*signer.Signer); ok {
		get = signer.GetCertificate(get) // binds a signature to its handshake, which the others have no way to
	}
	s := &Server{
		listener: listener,
		roots:    roots,
		config:   &tls.Config{GetCertificate: get, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true},
	}
	s.serving.Go(s.serve)
	return s, nil
}

// Close ends the server, once its handshakes have ended.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.serving.Wait()
	return err
}

func (s *Server) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.serving.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			server := tls.Server(conn, s.config)
			if server.Handshake() == nil {
				_, _ = server.Read(make([]byte, 1)) // until the client has gone
			}
		})
	}
}

// handshake is what a client does.
func (s *Server) handshake(ctx context.Context, config *tls.Config) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", s.listener.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	// Closed by a reset, a connection leaves no port behind that waits for a minute:
	// there are not enough of them.
	_ = conn.(*net.TCPConn).SetLinger(0)
	return tls.Client(conn, config).HandshakeContext(ctx)
}

func (s *Server) clientConfig() *tls.Config {
	return &tls.Config{RootCAs: s.roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}
}

// certify makes a certificate for key, by a CA whose own key is thrown away.
func certify(key crypto.Signer) (tls.Certificate, *x509.CertPool, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := func(serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial),
			NotBefore:    time.Now().Add(-time.Hour),
			NotAfter:     time.Now().Add(24 * time.Hour),
			DNSNames:     []string{"localhost"},
		}
	}
	ca := template(1)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		return tls.Certificate{}, nil, err
	}
	der, err = x509.CreateCertificate(rand.Reader, template(2), ca, key.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots, nil
}
