package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/examples/internal/tool"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func TestItMakesARootOfEachKindByItself(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), nil, &out, io.Discard))
	t.Log("\n" + out.String())
	for _, algorithm := range []string{"SHA256-RSAPSS", "SHA256-RSA", "ECDSA-SHA256", "ECDSA-SHA384", "ECDSA-SHA512", "Ed25519"} {
		require.Contains(t, out.String(), "signed with "+algorithm+"\n")
	}
	require.Regexp(t, `asked to sign: \d+ requests, (3[6-9]|[4-9]\d) OK, \d+ throttled, \d+ hung`, out.String(), "36, and what came too late on a busy machine")
}

func TestOpenSSLAgrees(t *testing.T) {
	openssl := tool.Path(t, "openssl", "openssl")
	dir := filepath.Join(t.TempDir(), "papers")
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-out", dir}, &out, io.Discard))
	require.Len(t, entries(t, filepath.Dir(dir)), 1, "there is something beside the papers")
	require.Len(t, entries(t, dir), len(kinds))

	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			dir := filepath.Join(dir, k.name)
			do := func(command string) (string, error) { return runIn(t, dir, openssl, command) }
			for i, want := range []string{"self-signature verify OK", "verify OK", "www.pem: OK\nold.pem: OK", "www.pem: OK"} {
				require.Contains(t, out.String(), commands[i])
				text, err := do(commands[i])
				require.NoError(t, err, text)
				require.Contains(t, text, want)
			}
			text, err := do(commands[4])
			require.Error(t, err, "a revoked certificate passed")
			require.Contains(t, text, "certificate revoked")

			text, err = do("openssl verify -CAfile ../" + other(k.name) + "/root.pem www.pem")
			require.Error(t, err, "a certificate passed under a root that is not its own")
			require.Contains(t, text, "unable to get local issuer certificate")
		})
		t.Run(k.name+", corrupted", func(t *testing.T) {
			dir := filepath.Join(dir, k.name)
			for _, name := range []string{"www.csr.pem", "crl.pem", "www.pem"} {
				corrupt(t, filepath.Join(dir, name))
			}
			text, err := runIn(t, dir, openssl, commands[2])
			require.Error(t, err)
			require.Contains(t, text, "www.pem: verification failed")
			// These two say so, and exit with 0, as openssl 3.0 does.
			text, _ = runIn(t, dir, openssl, commands[0])
			require.NotContains(t, text, "verify OK")
			require.Contains(t, text, "verify failure")
			text, _ = runIn(t, dir, openssl, commands[1])
			require.NotContains(t, text, "verify OK")
			require.Contains(t, text, "verify failure")
		})
	}
}

// other is the name of another root.
func other(name string) string {
	if name == kinds[0].name {
		return kinds[1].name
	}
	return kinds[0].name
}

// runIn runs a command of openssl's in a folder.
func runIn(t *testing.T, dir, openssl, command string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), openssl, strings.Fields(command)[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// corrupt changes the last byte of what is in a PEM file: the signature's.
func corrupt(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	block, _ := pem.Decode(data)
	block.Bytes[len(block.Bytes)-1] ^= 1
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
}

func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	e, err := os.ReadDir(dir)
	require.NoError(t, err)
	return e
}

func TestARootOfAnotherKMSIsUsed(t *testing.T) {
	srv := server(t)
	for _, tc := range []struct {
		spec types.KeySpec
		args []string
		want string
	}{
		{types.KeySpecRsa3072, []string{"-pss"}, "SHA256-RSAPSS"},
		{types.KeySpecRsa3072, nil, "SHA256-RSA"},
		{types.KeySpecEccNistP384, nil, "ECDSA-SHA384"},
	} {
		var out strings.Builder
		before := srv.Stats().Op("Sign").OK
		dir := filepath.Join(t.TempDir(), "papers")
		args := append(tc.args, "-key", uri(t, srv, srv.CreateKey(tc.spec)), "-out", dir)
		require.NoError(t, run(t.Context(), args, &out, io.Discard))
		require.Contains(t, out.String(), "signed with "+tc.want+"\n")
		require.GreaterOrEqual(t, srv.Stats().Op("Sign").OK-before, 4, "a root, two leaves and a CRL, and what came too late on a busy machine")
		require.FileExists(t, filepath.Join(dir, "root", "root.pem"))
	}
}

// uri makes the SDK's environment, and names a key of srv's.
func uri(t *testing.T, srv *kmstest.Server, keyID string) string {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return "awskms:///" + keyID + "?region=us-east-1&endpoint=" + srv.Endpoint()
}

func TestNothingIsWrittenWhenKMSIsDown(t *testing.T) {
	srv := server(t)
	key := uri(t, srv, srv.CreateKey(types.KeySpecEccNistP384))
	srv.Inject(kmstest.Faults{Down: true})
	parent := t.TempDir()
	err := run(t.Context(), []string{"-key", key, "-out", filepath.Join(parent, "papers")}, io.Discard, io.Discard)
	require.ErrorContains(t, err, "503")
	require.Empty(t, entries(t, parent))
}

func TestAFolderCanBeNamedWithASlashBehindIt(t *testing.T) {
	srv := server(t)
	parent := t.TempDir()
	args := []string{"-key", uri(t, srv, srv.CreateKey(types.KeySpecEccNistP256)), "-out", filepath.Join(parent, "papers") + "/"}
	require.NoError(t, run(t.Context(), args, io.Discard, io.Discard))
	require.FileExists(t, filepath.Join(parent, "papers", "root", "root.pem"))
	require.Len(t, entries(t, parent), 1)
}

func TestMistakesOnTheCommandLineGetOneClearLine(t *testing.T) {
	exists := t.TempDir()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-nope"}, "flag provided but not defined: -nope; -h lists the flags"},
		{[]string{"extra"}, `"extra" is no flag; -h lists them`},
		{[]string{"-pss"}, "-pss goes with -key"},
		{[]string{"-out", exists}, "which exists; name a new folder"},
		{[]string{"-out", filepath.Join(exists, "nowhere", "papers")}, "the folder to make it in must be there: "},
		{[]string{"-key", "kms:foo"}, "is no key URI"},
	} {
		var out, stderr strings.Builder
		err := run(t.Context(), tc.args, &out, &stderr)
		require.ErrorContains(t, err, tc.want)
		require.NotContains(t, err.Error(), "\n")
		require.Empty(t, stderr.String())
		require.Empty(t, out.String())
	}
	var help strings.Builder
	require.Error(t, run(t.Context(), []string{"-h"}, io.Discard, &help))
	require.Contains(t, help.String(), "-out")
}

func TestCertificatesHaveWhatReviewersLookFor(t *testing.T) {
	srv := server(t)
	www := open(t, srv, types.KeySpecEccNistP256)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			p, err := makePapers(k.name, open(t, srv, k.spec), k.algorithm, www, www)
			require.NoError(t, err)

			root := p.root
			require.True(t, root.BasicConstraintsValid && root.IsCA)
			require.True(t, root.MaxPathLen == 0 && root.MaxPathLenZero)
			require.Equal(t, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, root.KeyUsage)
			require.Len(t, root.SubjectKeyId, 20)
			require.Equal(t, root.SubjectKeyId, root.AuthorityKeyId)
			require.NoError(t, root.CheckSignatureFrom(root))
			if k.algorithm != 0 {
				require.Equal(t, k.algorithm, root.SignatureAlgorithm)
			}

			for _, leaf := range []*x509.Certificate{p.www.cert, p.old.cert} {
				require.True(t, leaf.BasicConstraintsValid && !leaf.IsCA)
				require.Equal(t, x509.KeyUsageDigitalSignature, leaf.KeyUsage)
				require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, leaf.ExtKeyUsage)
				require.Equal(t, root.SubjectKeyId, leaf.AuthorityKeyId)
				require.Len(t, leaf.SubjectKeyId, 20)
				require.NotEqual(t, root.SubjectKeyId, leaf.SubjectKeyId)
				require.Equal(t, root.SignatureAlgorithm, leaf.SignatureAlgorithm)
				require.Equal(t, []string{leaf.Subject.CommonName}, leaf.DNSNames)
				require.Equal(t, leafValidity, leaf.NotAfter.Add(time.Second).Sub(leaf.NotBefore))
				require.False(t, leaf.NotAfter.After(root.NotAfter))
			}
			serials := map[string]bool{}
			for _, c := range []*x509.Certificate{root, p.www.cert, p.old.cert} {
				require.Greater(t, c.SerialNumber.BitLen(), 127) // but for one in 2³²
				require.LessOrEqual(t, c.SerialNumber.BitLen(), 159)
				serials[c.SerialNumber.String()] = true
			}
			require.Len(t, serials, 3)

			require.Equal(t, root.SignatureAlgorithm, p.crl.SignatureAlgorithm)
			require.Equal(t, root.SubjectKeyId, p.crl.AuthorityKeyId)
			require.Equal(t, crlValidity, p.crl.NextUpdate.Sub(p.crl.ThisUpdate))
			require.Equal(t, keyCompromise, p.crl.RevokedCertificateEntries[0].ReasonCode)
		})
	}
}

func TestTheKeyIDIsTheOneThatX509GivesToAuthorities(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	cert, err := create(template, template, key.Public(), key)
	require.NoError(t, err)
	id, err := keyID(key.Public())
	require.NoError(t, err)
	require.Equal(t, cert.SubjectKeyId, id)
}

func TestARequestThatProvesNothingIsRefused(t *testing.T) {
	srv := server(t)
	key := open(t, srv, types.KeySpecEccNistP384)
	cert, err := newRoot(key, 0, pkix.Name{CommonName: "root"})
	require.NoError(t, err)
	request, err := newRequest(open(t, srv, types.KeySpecEccNistP256), "www.example.com", "example.com")
	require.NoError(t, err)
	names := []string{"example.com", "www.example.com"}

	forged := strings.Replace(string(request), "www.example.com", "wwv.example.com", 1)
	nameless, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, open(t, srv, types.KeySpecEccNistP256))
	require.NoError(t, err)

	before := srv.Stats().Op("Sign").Requests
	for _, tc := range []struct {
		request []byte
		names   []string
		want    string
	}{
		{[]byte(forged), names, "does not prove that who asks has the key"},
		{request[:len(request)-1], names, "does not parse"},
		{request, []string{"example.com"}, `it asks for "www.example.com", which was not found to be the requester's`},
		{request, nil, "which was not found to be the requester's"},
		{nameless, names, "it names no host"},
		{weakRequest(t), names, "its RSA key has 1024 bits; 2048 are the least"},
	} {
		_, err := issue(cert, key, tc.request, tc.names)
		require.ErrorContains(t, err, "the request is refused: ")
		require.ErrorContains(t, err, tc.want)
	}
	require.Equal(t, before, srv.Stats().Op("Sign").Requests, "KMS was asked")

	leaf, err := issue(cert, key, request, names)
	require.NoError(t, err)
	require.Equal(t, []string{"www.example.com", "example.com"}, leaf.DNSNames)
}

func weakRequest(t *testing.T) []byte {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	der, err := newRequest(key, "www.example.com")
	require.NoError(t, err)
	return der
}

func TestALeafDoesNotOutliveItsRoot(t *testing.T) {
	key := open(t, server(t), types.KeySpecEccNistP384)
	cert, err := newRoot(key, 0, pkix.Name{CommonName: "root"})
	require.NoError(t, err)
	request, err := newRequest(key, "www.example.com")
	require.NoError(t, err)
	cert.NotAfter = time.Now().Add(24 * time.Hour)
	_, err = issue(cert, key, request, []string{"www.example.com"})
	require.ErrorContains(t, err, "would outlive its root")
}

func TestPSSIsForRSAKeys(t *testing.T) {
	_, err := newRoot(open(t, server(t), types.KeySpecEccNistP384), x509.SHA256WithRSAPSS, pkix.Name{CommonName: "root"})
	require.ErrorContains(t, err, "does not match private key type")
}

// An Ed25519 key signs the certificate itself, of which KMS takes 4096 bytes;
// the others sign its digest.
func TestAnEd25519RootSaysWhatItCannotSign(t *testing.T) {
	srv := server(t)
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("server-%03d.example.com", i))
	}
	request, err := newRequest(open(t, srv, types.KeySpecEccNistP256), names...)
	require.NoError(t, err)
	var revoked []x509.RevocationListEntry
	for i := range 200 {
		serial := new(big.Int).Lsh(big.NewInt(int64(i+1)), 150)
		revoked = append(revoked, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Now(), ReasonCode: keyCompromise})
	}

	for _, spec := range []types.KeySpec{types.KeySpecEccNistEdwards25519, types.KeySpecEccNistP384} {
		key := open(t, srv, spec)
		cert, err := newRoot(key, 0, pkix.Name{CommonName: "root"})
		require.NoError(t, err)
		before := srv.Stats().Op("Sign").Requests
		_, certErr := issue(cert, key, request, names)
		_, crlErr := newCRL(cert, key, big.NewInt(1), revoked)
		if _, isEd25519 := key.Public().(ed25519.PublicKey); !isEd25519 {
			require.NoError(t, certErr)
			require.NoError(t, crlErr)
			continue
		}
		for what, err := range map[string]error{"the certificate of server-000.example.com": certErr, "the CRL": crlErr} {
			require.ErrorContains(t, err, what)
			require.ErrorContains(t, err, "KMS takes at most 4096 with ED25519_SHA_512, which has no digest")
			require.Equal(t, turret.Permanent, turret.Classify(err))
			t.Log(err)
		}
		require.Equal(t, before, srv.Stats().Op("Sign").Requests, "KMS was asked")
		_, err = newCRL(cert, key, big.NewInt(1), revoked[:60])
		require.NoError(t, err)
	}
}

func TestAContextEndsACertificateThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := server(t)
		key := open(t, srv, types.KeySpecEccNistP384)
		srv.Inject(kmstest.Faults{Hang: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		_, err := newRoot(key.WithContext(ctx), 0, pkix.Name{CommonName: "root"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestAnInterruptLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	parent := t.TempDir()
	err := run(ctx, []string{"-out", filepath.Join(parent, "papers")}, io.Discard, io.Discard)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, entries(t, parent))
}

func server(t *testing.T) *kmstest.Server {
	t.Helper()
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	return srv
}

func open(t *testing.T, srv *kmstest.Server, spec types.KeySpec) *signer.Signer {
	t.Helper()
	key, err := build(t.Context(), awskms.New(srv.Client(), srv.CreateKey(spec)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, key.Close()) })
	return key
}
