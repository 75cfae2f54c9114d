package signer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// selfSigned is a certificate of key's own, in PEM, for example.com.
func selfSigned(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "example.com"},
		DNSNames:     []string{"example.com"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(48 * time.Hour),
	}
	if key.Public() == nil {
		t.Fatal("no public key")
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func pool(t *testing.T, chainPEM []byte) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	require.True(t, p.AppendCertsFromPEM(chainPEM))
	return p
}

// handshake performs one between a server and a client over a pipe, each with
// its context, and returns what the two ended with.
func handshake(serverCtx, clientCtx context.Context, server, client *tls.Config) (serverErr, clientErr error) {
	s, c := net.Pipe()
	defer s.Close()
	defer c.Close()
	done := make(chan error, 1)
	go func() {
		err := tls.Server(s, server).HandshakeContext(serverCtx)
		if err != nil {
			s.Close()
		}
		done <- err
	}()
	conn := tls.Client(c, client)
	clientErr = conn.HandshakeContext(clientCtx)
	if clientErr != nil {
		c.Close()
	}
	return <-done, clientErr
}

func TestEveryKeyServesTLS12And13(t *testing.T) {
	for _, name := range inTLS {
		s := build(t, signer.NewBuilder(fake(name))) // which pairs as a KMS does
		chain := selfSigned(t, s)
		cert, err := signer.Certificate(chain, s)
		require.NoError(t, err)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				server := &tls.Config{GetCertificate: signer.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })}
				client := &tls.Config{ServerName: "example.com", RootCAs: pool(t, chain), MinVersion: version, MaxVersion: version}
				serverErr, clientErr := handshake(t.Context(), t.Context(), server, client)
				require.NoError(t, serverErr)
				require.NoError(t, clientErr)
			})
		}
	}
}

func TestEveryKeyAuthenticatesATLSClient(t *testing.T) {
	serverKey := build(t, signer.NewBuilder(fake("ECDSA P-256")))
	serverChain := selfSigned(t, serverKey)
	serverCert, err := signer.Certificate(serverChain, serverKey)
	require.NoError(t, err)
	for _, name := range inTLS {
		s := build(t, signer.NewBuilder(fake(name)))
		chain := selfSigned(t, s)
		cert, err := signer.Certificate(chain, s)
		require.NoError(t, err)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				server := &tls.Config{Certificates: []tls.Certificate{serverCert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(t, chain), MaxVersion: version}
				client := &tls.Config{
					ServerName:           "example.com",
					RootCAs:              pool(t, serverChain),
					GetClientCertificate: signer.GetClientCertificate(func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }),
				}
				serverErr, clientErr := handshake(t.Context(), t.Context(), server, client)
				require.NoError(t, serverErr)
				require.NoError(t, clientErr)
			})
		}
	}
}

func TestCertificateRefusesWhatDoesNotFit(t *testing.T) {
	p256 := build(t, signer.NewBuilder(fake("ECDSA P-256")))
	chain := selfSigned(t, p256)
	for name, tc := range map[string]struct {
		chain []byte
		key   crypto.Signer
		want  string
	}{
		"no key":        {chain, nil, "Certificate needs a key"},
		"a nil *Signer": {chain, (*signer.Signer)(nil), "Certificate needs a key"},
		"no public key": {chain, badSigner{}, "the key has no public half"},
		"no ECDSA key":  {chain, badSigner{&ecdsa.PublicKey{}}, "public key of type *ecdsa.PublicKey is malformed or not supported"},
		"no RSA key":    {selfSigned(t, keys()["RSA 2048"]), badSigner{&rsa.PublicKey{}}, "public key of type *rsa.PublicKey is malformed or not supported"},
		"no PEM":        {[]byte("hello"), p256, "there is no certificate in the PEM data"},
		"a key in PEM":  {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"}), p256, "there is no certificate in the PEM data"},
		"garbage":       {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), p256, "the leaf, does not parse"},
		"secp256k1":     {chain, keys()["ECDSA secp256k1"], "signer: ECDSA secp256k1 keys cannot be used with crypto/tls, which knows RSA, ECDSA on P-256, P-384 and P-521, and Ed25519"},
		"ML-DSA":        {chain, keys()["ML-DSA-65"], "signer: ML-DSA-65 keys cannot be used with crypto/tls, which knows RSA, ECDSA on P-256, P-384 and P-521, and Ed25519"},
		"another's key": {chain, keys()["RSA 2048"], "the leaf certificate (CN=example.com, ECDSA P-256) is another key's than the one given (RSA 2048)"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signer.Certificate(tc.chain, tc.key)
			require.ErrorContains(t, err, tc.want)
			var e *signer.Error
			require.ErrorAs(t, err, &e)
		})
	}
	cert, err := signer.Certificate(append(chain, selfSigned(t, keys()["RSA 2048"])...), p256)
	require.NoError(t, err)
	require.Len(t, cert.Certificate, 2)
	require.Equal(t, "example.com", cert.Leaf.Subject.CommonName)
	require.Equal(t, []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, cert.SupportedSignatureAlgorithms)
}

// badSigner has a public key that is none.
type badSigner struct{ pub crypto.PublicKey }

func (b badSigner) Public() crypto.PublicKey { return b.pub }
func (b badSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("not asked for")
}

func TestGetCertificateLeavesOtherKeysAndErrorsAlone(t *testing.T) {
	plain := &tls.Certificate{PrivateKey: keys()["Ed25519"]}
	none := &tls.Certificate{PrivateKey: (*signer.Signer)(nil)}
	boom := errors.New("boom")
	for _, tc := range []struct {
		cert *tls.Certificate
		err  error
	}{{plain, nil}, {none, nil}, {nil, nil}, {nil, boom}} {
		got, err := signer.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return tc.cert, tc.err })(&tls.ClientHelloInfo{})
		require.Same(t, tc.cert, got)
		require.Equal(t, tc.err, err)
	}
}

// kmsCertificate is a certificate whose key is in a KMS, behind a stack whose
// timeout is limit.
func kmsCertificate(t *testing.T, srv *kmstest.Server, limit time.Duration) (tls.Certificate, *tls.Config) {
	t.Helper()
	id := srv.CreateKey(types.KeySpecEccNistP256)
	s := build(t, signer.NewBuilder(awskms.New(srv.Client(), id)).Timeout(limit).Retry(retry.Options{MaxAttempts: 8}))
	chain := selfSigned(t, s)
	cert, err := signer.Certificate(chain, s)
	require.NoError(t, err)
	return cert, &tls.Config{ServerName: "example.com", RootCAs: pool(t, chain)}
}

func serving(cert tls.Certificate) *tls.Config {
	return &tls.Config{GetCertificate: signer.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })}
}

func TestHandshakeWhoseContextEndsCancelsItsKMSCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		cert, client := kmsCertificate(t, srv, time.Minute)
		srv.Inject(kmstest.Faults{Hang: 1})
		before := srv.Stats().Op("Sign")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		serverErr, clientErr := handshake(ctx, t.Context(), serving(cert), client)
		require.Error(t, serverErr)
		require.Error(t, clientErr)
		require.Equal(t, time.Second, time.Since(start))
		synctest.Wait()
		after := srv.Stats().Op("Sign")
		require.Equal(t, 1, after.Hung-before.Hung, "the KMS saw its client go")
		require.Zero(t, after.InFlight)
	})
}

func TestHandshakeWhoseClientVanishedEndsByTheStacksTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		cert, client := kmsCertificate(t, srv, 5*time.Second)
		srv.Inject(kmstest.Faults{Hang: 1})

		gone, vanish := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, vanish)
		start := time.Now()
		serverErr, _ := handshake(context.Background(), gone, serving(cert), client)
		require.Error(t, serverErr)
		require.Equal(t, 5*time.Second, time.Since(start), "nothing tells crypto/tls that the client has gone")
		synctest.Wait()
		require.Zero(t, srv.Stats().Op("Sign").InFlight)
	})
}

func TestServerKeepsItsHandshakesWhileTheKMSFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		cert, client := kmsCertificate(t, srv, 10*time.Second)
		srv.Inject(kmstest.Faults{Throttle: 0.1, Internal: 0.05, Reset: 0.05, Corrupt: 0.05, Seed: 3})
		for range 50 {
			serverErr, clientErr := handshake(t.Context(), t.Context(), serving(cert), client)
			require.NoError(t, serverErr)
			require.NoError(t, clientErr)
		}
	})
}

// A TLS server whose key is in a KMS. Each handshake's context ends its
// signature, and the stack bounds those whose context does not end.
func ExampleGetCertificate() {
	srv := kmstest.NewServer() // in production: AWS
	defer srv.Close()
	key, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))).
		Defaults(signer.Defaults{}).
		Build(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	chainPEM := issue(key)

	cert, err := signer.Certificate(chainPEM, key)
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{
		GetCertificate: signer.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &cert, nil
		}),
	}
	_ = config // tls.Listen("tcp", ":443", config)
}

// issue stands for the CA that gave the key its certificate.
func issue(key crypto.Signer) []byte {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	return bytes.TrimSpace(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
