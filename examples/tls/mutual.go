package main

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/turretgo/turret/signer"
)

// clientName is in the client's certificate, and is how the server greets it.
const clientName = "example client"

// mutualPatience is longer than patience: two keys sign, one after the other.
const mutualPatience = 2 * patience

// runMutual performs handshakes in which both sides sign with a key in the KMS,
// and prints how they went.
func runMutual(ctx context.Context, o options, serverKey, clientKey *signer.Signer, kmsCalls func() int, stdout, stderr io.Writer) error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	serverCert, err := ca.issue(serverKey)
	if err != nil {
		return err
	}
	clientCert, err := ca.issueClient(clientKey, clientName)
	if err != nil {
		return err
	}
	g, err := startGreeter("127.0.0.1:0", mutualServer(&serverCert, ca.pool()))
	if err != nil {
		return err
	}
	defer g.close()

	var rows []row
	var lost error
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := mutualClient(&clientCert, ca.pool())
		config.MinVersion, config.MaxVersion = version, version
		r := row{name: tls.VersionName(version)}
		before := kmsCalls()
		err := r.drive(ctx, load{o.clients, o.mutual, mutualPatience}, stderr, func(ctx context.Context) error { return meet(ctx, g.addr(), config) })
		if err != nil {
			return err
		}
		r.kmsCalls = kmsCalls() - before
		rows = append(rows, r)
		if r.failed > 0 && lost == nil {
			lost = fmt.Errorf("the stack lost %d mutual handshakes of %s, the first with: %w", r.failed, r.name, r.err)
		}
	}
	fmt.Fprintf(stdout, "\nMutual TLS, the server's key and the client's both in the KMS:\n\n")
	printRows(stdout, "version", rows)
	fmt.Fprintf(stdout, "\nA client gives up after %v.\n", mutualPatience)
	return lost
}

// issueClient makes a certificate for a client of that name, whose private key
// is key.
func (a *authority) issueClient(key crypto.Signer, name string) (tls.Certificate, error) {
	return a.certify(key, &x509.Certificate{
		SerialNumber: big.NewInt(3),
		Subject:      pkix.Name{CommonName: name},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// mutualServer is the configuration of a server that wants a certificate of
// every client. Each handshake's context goes down to the KMS.
func mutualServer(cert *tls.Certificate, clients *x509.CertPool) *tls.Config {
	return &tls.Config{
		GetCertificate: signer.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }),
		ClientAuth:     tls.RequireAndVerifyClientCert,
		ClientCAs:      clients,
	}
}

// mutualClient is that of a client which has one. Its handshakes' contexts go
// down to the KMS, too.
//
// An Ed25519 client is better off with TLS 1.3. In TLS 1.2 it signs the handshake
// so far, without a digest, and a KMS takes no more than 4096 bytes: a long chain
// on either side is too much.
func mutualClient(cert *tls.Certificate, servers *x509.CertPool) *tls.Config {
	return &tls.Config{
		GetClientCertificate: signer.GetClientCertificate(func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }),
		RootCAs:              servers,
		ServerName:           "localhost",
	}
}

func greeting(name string) string { return fmt.Sprintf("Hello, %s.\n", name) }

// meet connects to a greeter and reads its greeting. That is part of it: a
// TLS 1.3 client is done with its handshake before the server has looked at the
// certificate.
func meet(ctx context.Context, addr net.Addr, config *tls.Config) error {
	dialer := &tls.Dialer{Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(mutualPatience)); err != nil {
		return err
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if string(text) != greeting(clientName) {
		return fmt.Errorf("the server said %q", strings.TrimSpace(string(text)))
	}
	return nil
}

// greeter is a TLS server that greets each client by the name in its
// certificate, and hangs up.
type greeter struct {
	listener net.Listener
	config   *tls.Config
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

func startGreeter(address string, config *tls.Config) (*greeter, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &greeter{listener: listener, config: config, cancel: cancel}
	g.running.Go(func() { g.accept(ctx) })
	return g, nil
}

func (g *greeter) addr() net.Addr { return g.listener.Addr() }

// close ends the handshakes that are under way.
func (g *greeter) close() {
	g.listener.Close()
	g.cancel()
	g.running.Wait()
}

func (g *greeter) accept(ctx context.Context) {
	for {
		conn, err := g.listener.Accept()
		if err != nil { // closed; or out of files, which the clients notice
			return
		}
		g.running.Go(func() { g.greet(ctx, conn) })
	}
}

// greet does not say what went wrong: its clients notice, and count.
func (g *greeter) greet(ctx context.Context, raw net.Conn) {
	conn := tls.Server(raw, g.config)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, mutualPatience)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return
	}
	if err := conn.SetDeadline(time.Now().Add(mutualPatience)); err != nil {
		return
	}
	_, _ = io.WriteString(conn, greeting(conn.ConnectionState().VerifiedChains[0][0].Subject.CommonName))
}
