package main

import (
	"bufio"
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
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/examples/internal/tool"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

func only(config *tls.Config, version uint16) *tls.Config {
	config.MinVersion, config.MaxVersion = version, version
	return config
}

func TestTheStackLosesNoMutualHandshake(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-n", "1", "-mutual", "40"}, &out, io.Discard))
	t.Log("\n" + out.String())
	for _, version := range versions {
		require.Regexp(t, tls.VersionName(version)+`\s+40\s+0\s+0\s`, out.String())
	}
}

func TestMutualTLSIsLeftOutOnDemand(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-n", "1", "-mutual", "0"}, &out, io.Discard))
	require.NotContains(t, out.String(), "Mutual")
}

func TestALostMutualHandshakeIsAnError(t *testing.T) {
	srv := kmstest.NewServer()
	defer srv.Close()
	serverKey := kmsKey(t, srv, types.KeySpecEccNistP256, defaults)
	client := srv.CreateKey(types.KeySpecEccNistP256)
	clientKey, err := buildKey(t.Context(), awskms.New(srv.Client(), client))
	require.NoError(t, err)
	defer clientKey.Close()
	srv.Deny(client)
	var out strings.Builder
	err = runMutual(t.Context(), options{mutual: 3, clients: 2}, serverKey, clientKey, func() int { return 0 }, &out, io.Discard)
	require.ErrorContains(t, err, "the stack lost 3 mutual handshakes of TLS 1.2, the first with: ")
	require.Regexp(t, `TLS 1.3\s+3\s+3\s`, out.String())
}

func defaults(b signer.Builder) signer.Builder { return b.Defaults(signer.Defaults{}) }

// patient is a stack that a test's time does not bound: what ends a signature
// is its context.
func patient(b signer.Builder) signer.Builder { return b.Timeout(1000 * time.Hour) }

// kmsKey makes a key in srv and builds a stack around it.
func kmsKey(t *testing.T, srv *kmstest.Server, spec types.KeySpec, stack func(signer.Builder) signer.Builder) *signer.Signer {
	t.Helper()
	key, err := stack(signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(spec)))).Build(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { key.Close() })
	return key
}

func localKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func newCA(t *testing.T) *authority {
	t.Helper()
	ca, err := newAuthority()
	require.NoError(t, err)
	return ca
}

func (a *authority) mustIssue(t *testing.T, key crypto.Signer) *tls.Certificate {
	t.Helper()
	cert, err := a.issue(key)
	require.NoError(t, err)
	return &cert
}

func (a *authority) mustIssueClient(t *testing.T, key crypto.Signer, name string) *tls.Certificate {
	t.Helper()
	cert, err := a.issueClient(key, name)
	require.NoError(t, err)
	return &cert
}

// loopback returns the two ends of a TCP connection.
func loopback(t *testing.T) (server, client net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	client, err = net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	server, err = listener.Accept()
	require.NoError(t, err)
	return server, client
}

// shake performs a handshake over the two ends of a connection and closes both.
// It returns what each side ended with. The client's verdict is in when it has
// heard from the server: in TLS 1.3 it is done before the server has looked at
// its certificate.
func shake(serverCtx, clientCtx context.Context, server, client *tls.Conn) (serverErr, clientErr error) {
	done := make(chan error, 1)
	go func() {
		defer server.Close()
		err := server.HandshakeContext(serverCtx)
		if err == nil {
			_, err = server.Write([]byte{1})
		}
		done <- err
	}()
	clientErr = client.HandshakeContext(clientCtx)
	if clientErr == nil {
		_, clientErr = io.ReadFull(client, make([]byte, 1))
	}
	client.NetConn().Close()
	return <-done, clientErr
}

// mutualHandshake performs one, and returns the server's end and what each side
// ended with.
func mutualHandshake(t *testing.T, server, client *tls.Config) (conn *tls.Conn, serverErr, clientErr error) {
	t.Helper()
	s, c := loopback(t)
	conn = tls.Server(s, server)
	serverErr, clientErr = shake(t.Context(), t.Context(), conn, tls.Client(c, client))
	return conn, serverErr, clientErr
}

func TestTheServerVerifiesEveryKindOfClientKey(t *testing.T) {
	srv := kmstest.NewServer()
	defer srv.Close()
	ca := newCA(t)
	server := mutualServer(ca.mustIssue(t, kmsKey(t, srv, types.KeySpecEccNistP256, defaults)), ca.pool())
	for name, spec := range specs {
		cert := ca.mustIssueClient(t, kmsKey(t, srv, spec, defaults), "client "+name)
		for _, version := range versions {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				before := srv.Stats().Op("Sign").OK
				conn, serverErr, clientErr := mutualHandshake(t, server, only(mutualClient(cert, ca.pool()), version))
				require.NoError(t, serverErr)
				require.NoError(t, clientErr)
				state := conn.ConnectionState()
				require.Equal(t, version, state.Version)
				require.Len(t, state.VerifiedChains, 1)
				require.Equal(t, "client "+name, state.VerifiedChains[0][0].Subject.CommonName)
				require.True(t, state.VerifiedChains[0][1].Equal(ca.cert))
				require.GreaterOrEqual(t, srv.Stats().Op("Sign").OK-before, 2, "one signature of each side, and what came too late on a busy machine")
			})
		}
	}
}

func TestAnotherCAsClientIsRefused(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	server := mutualServer(ca.mustIssue(t, localKey(t)), ca.pool())
	for _, version := range versions {
		cert := other.mustIssueClient(t, localKey(t), clientName)
		conn, serverErr, clientErr := mutualHandshake(t, server, only(mutualClient(cert, ca.pool()), version))
		require.ErrorContains(t, serverErr, "certificate signed by unknown authority")
		require.Error(t, clientErr)
		require.Empty(t, conn.ConnectionState().VerifiedChains)

		_, serverErr, clientErr = mutualHandshake(t, server, only(&tls.Config{RootCAs: ca.pool(), ServerName: "localhost"}, version))
		require.ErrorContains(t, serverErr, "client didn't provide a certificate")
		require.Error(t, clientErr)

		own := ca.mustIssue(t, localKey(t)) // a server's, by its ExtKeyUsage
		_, serverErr, _ = mutualHandshake(t, server, only(mutualClient(own, ca.pool()), version))
		require.ErrorContains(t, serverErr, "incompatible key usage")
	}
}

func TestAGreeterRefusesAnotherCAsClient(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	g, err := startGreeter("127.0.0.1:0", mutualServer(ca.mustIssue(t, localKey(t)), ca.pool()))
	require.NoError(t, err)
	defer g.close()
	for _, version := range versions {
		require.NoError(t, meet(t.Context(), g.addr(), only(mutualClient(ca.mustIssueClient(t, localKey(t), clientName), ca.pool()), version)))
		err := meet(t.Context(), g.addr(), only(mutualClient(other.mustIssueClient(t, localKey(t), clientName), ca.pool()), version))
		require.Error(t, err)
		err = meet(t.Context(), g.addr(), only(mutualClient(ca.mustIssueClient(t, localKey(t), "mallory"), ca.pool()), version))
		require.EqualError(t, err, `the server said "Hello, mallory."`)
	}
}

func TestAHandshakeThatEndsEndsItsKMSCall(t *testing.T) {
	for _, version := range versions {
		for _, side := range []string{"server", "client"} {
			t.Run(side+" "+tls.VersionName(version), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := kmstest.NewServer()
					defer srv.Close()
					ca := newCA(t)
					remote := kmsKey(t, srv, types.KeySpecEccNistP256, patient)
					serverKey, clientKey := crypto.Signer(remote), localKey(t)
					if side == "client" {
						serverKey, clientKey = clientKey, serverKey
					}
					server := only(mutualServer(ca.mustIssue(t, serverKey), ca.pool()), version)
					client := mutualClient(ca.mustIssueClient(t, clientKey, clientName), ca.pool())
					srv.Inject(kmstest.Faults{Hang: 1})

					left := errors.New("left")
					ctx, cancel := context.WithCancelCause(t.Context())
					serverCtx, clientCtx := ctx, t.Context()
					if side == "client" {
						serverCtx, clientCtx = clientCtx, serverCtx
					}
					ended := make(chan [2]error, 1)
					go func() {
						s, c := net.Pipe()
						serverErr, clientErr := shake(serverCtx, clientCtx, tls.Server(s, server), tls.Client(c, client))
						ended <- [2]error{serverErr, clientErr}
					}()
					synctest.Wait()
					require.Equal(t, kmstest.Counts{Requests: 1, InFlight: 1}, srv.Stats().Op("Sign"))
					began := time.Now()
					cancel(left)
					errs := <-ended
					require.Error(t, errs[0])
					require.Error(t, errs[1])
					synctest.Wait()
					require.Equal(t, kmstest.Counts{Requests: 1, Hung: 1}, srv.Stats().Op("Sign"))
					require.Zero(t, time.Since(began), "the stack waits for weeks")
				})
			})
		}
	}
}

func TestClosingAGreeterEndsItsHandshakes(t *testing.T) {
	srv := kmstest.NewServer()
	defer srv.Close()
	ca := newCA(t)
	g, err := startGreeter("127.0.0.1:0", mutualServer(ca.mustIssue(t, kmsKey(t, srv, types.KeySpecEccNistP256, patient)), ca.pool()))
	require.NoError(t, err)
	srv.Inject(kmstest.Faults{Hang: 1})
	met := make(chan error, 1)
	client := mutualClient(ca.mustIssueClient(t, localKey(t), clientName), ca.pool())
	go func() { met <- meet(t.Context(), g.addr(), client) }()
	inFlight := func() int { return srv.Stats().Op("Sign").InFlight }
	require.Eventually(t, func() bool { return inFlight() == 1 }, 5*time.Second, time.Millisecond)
	closed := make(chan struct{})
	go func() {
		g.close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(mutualPatience / 2):
		t.Error("the greeter waits for its handshakes to end")
	}
	require.Error(t, <-met)
	require.Eventually(t, func() bool { return inFlight() == 0 }, 5*time.Second, time.Millisecond)
}

// write puts PEM blocks into a file.
func write(t *testing.T, name, blockType string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}), 0o600))
	return path
}

func TestOpenSSLIsAClientWithACertificate(t *testing.T) {
	openssl := tool.Path(t, "openssl", "openssl")
	srv := kmstest.NewServer()
	defer srv.Close()
	ca, other := newCA(t), newCA(t)
	g, err := startGreeter("127.0.0.1:0", mutualServer(ca.mustIssue(t, kmsKey(t, srv, types.KeySpecEccNistP384, defaults)), ca.pool()))
	require.NoError(t, err)
	defer g.close()
	key := localKey(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	keyFile := write(t, "key.pem", "PRIVATE KEY", pkcs8)
	caFile := write(t, "ca.pem", "CERTIFICATE", ca.cert.Raw)
	good := write(t, "good.pem", "CERTIFICATE", ca.mustIssueClient(t, key, "openssl").Certificate[0])
	bad := write(t, "bad.pem", "CERTIFICATE", other.mustIssueClient(t, key, "openssl").Certificate[0])
	for _, flag := range []string{"-tls1_2", "-tls1_3"} {
		connect := func(certFile string) string {
			cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-quiet", "-connect", g.addr().String(), "-servername", "localhost",
				"-CAfile", caFile, "-verify_return_error", "-verify_hostname", "localhost", "-cert", certFile, "-key", keyFile, flag)
			out, _ := cmd.CombinedOutput() // whose status is 0 or not by how the server hung up, and by version
			return string(out)
		}
		require.Contains(t, connect(good), "Hello, openssl.\n")
		refused := connect(bad)
		require.NotContains(t, refused, "Hello")
		require.Contains(t, refused, "alert")
	}
}

// opensslServer runs openssl s_server, which wants a client certificate of ca's
// and sends lines back reversed. It returns its address and what it prints.
func opensslServer(t *testing.T, openssl string, ca *authority) (addr string, out *output) {
	t.Helper()
	key := localKey(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), openssl, "s_server", "-accept", "127.0.0.1:0", "-rev", "-Verify", "1", "-verify_return_error",
		"-CAfile", write(t, "ca.pem", "CERTIFICATE", ca.cert.Raw),
		"-cert", write(t, "cert.pem", "CERTIFICATE", ca.mustIssue(t, key).Certificate[0]),
		"-key", write(t, "key.pem", "PRIVATE KEY", pkcs8))
	out = &output{new: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return out.match(t, `ACCEPT (127\.0\.0\.1:\d+)`)[1], out
}

// reversed sends a line, and returns what comes back.
func reversed(ctx context.Context, addr string, config *tls.Config) (string, error) {
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "desrever\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func TestAnOpenSSLServerVerifiesAKMSKeyedClient(t *testing.T) {
	openssl := tool.Path(t, "openssl", "openssl")
	srv := kmstest.NewServer()
	defer srv.Close()
	ca, other := newCA(t), newCA(t)
	addr, out := opensslServer(t, openssl, ca)
	for name, spec := range specs {
		key := kmsKey(t, srv, spec, defaults)
		for _, version := range versions {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				before := srv.Stats().Op("Sign").OK
				client := name + " of " + tls.VersionName(version)
				line, err := reversed(t.Context(), addr, only(mutualClient(ca.mustIssueClient(t, key, client), ca.pool()), version))
				require.NoError(t, err)
				require.Equal(t, "reversed\n", line)
				out.match(t, `Peer certificate: CN ?= ?`+client)
				require.Greater(t, srv.Stats().Op("Sign").OK, before)

				_, err = reversed(t.Context(), addr, only(mutualClient(other.mustIssueClient(t, key, client), ca.pool()), version))
				require.ErrorContains(t, err, "remote error: tls: ")
			})
		}
	}
}

// TestAnEd25519ClientsTLS12TranscriptIsBounded: a TLS 1.2 client signs the whole
// handshake so far, both sides' certificates in it. Ed25519 has no digest to make
// of that here, and a KMS takes 4096 bytes at most.
func TestAnEd25519ClientsTLS12TranscriptIsBounded(t *testing.T) {
	srv := kmstest.NewServer()
	defer srv.Close()
	ca := newCA(t)
	server := mutualServer(ca.mustIssue(t, localKey(t)), ca.pool())
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprintf("host-%d.a-department-with-a-long-name.example.com", i)
	}
	for name, spec := range specs {
		cert, err := ca.certify(kmsKey(t, srv, spec, defaults), &x509.Certificate{
			SerialNumber: big.NewInt(4),
			Subject:      pkix.Name{CommonName: clientName},
			DNSNames:     names,
			ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		require.NoError(t, err)
		for _, version := range versions {
			before := srv.Stats().Op("Sign").Requests
			_, serverErr, clientErr := mutualHandshake(t, server, only(mutualClient(&cert, ca.pool()), version))
			if name == "Ed25519" && version == tls.VersionTLS12 {
				require.Error(t, serverErr)
				require.ErrorContains(t, clientErr, "KMS takes at most 4096 with ED25519_SHA_512")
				require.Equal(t, before, srv.Stats().Op("Sign").Requests)
				continue
			}
			require.NoError(t, serverErr, name)
			require.NoError(t, clientErr, name)
		}
	}
}
