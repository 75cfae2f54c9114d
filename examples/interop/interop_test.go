package interop

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// A signature and all that a verifier gets to know.
type signature struct {
	publicKey []byte // in DER, as KMS gives it
	opts      crypto.SignerOpts
	message   []byte
	sig       []byte
}

// A verifier that is not turret's.
type verifier struct {
	name   string
	verify func(t *testing.T, s signature) error // an error unless s is a signature of its message
}

var (
	standard = []verifier{{"standard library", standardLibrary}, {"openssl", openSSL}}
	unknown  = []verifier{{"openssl", openSSL}} // to the standard library
	lattice  = []verifier{{"circl", circl}}
)

var (
	sha256 = []crypto.SignerOpts{crypto.SHA256}
	sha384 = []crypto.SignerOpts{crypto.SHA384}
	sha512 = []crypto.SignerOpts{crypto.SHA512}
	whole  = []crypto.SignerOpts{crypto.Hash(0)}
	forRSA = []crypto.SignerOpts{
		crypto.SHA256, crypto.SHA384, crypto.SHA512,
		pss(crypto.SHA256), pss(crypto.SHA384), pss(crypto.SHA512),
	}
)

func pss(h crypto.Hash) crypto.SignerOpts {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
}

// specs are all that the KMS of AWS signs with, but for SM2, each with what to pass
// to Sign for its algorithms and the longest message to try, in bytes.
var specs = []struct {
	spec      types.KeySpec
	opts      []crypto.SignerOpts
	longest   int
	verifiers []verifier
}{
	{types.KeySpecRsa2048, forRSA, 100_000, standard},
	{types.KeySpecRsa3072, forRSA, 100_000, standard},
	{types.KeySpecRsa4096, forRSA, 100_000, standard},
	{types.KeySpecEccNistP256, sha256, 100_000, standard},
	{types.KeySpecEccNistP384, sha384, 100_000, standard},
	{types.KeySpecEccNistP521, sha512, 100_000, standard},
	{types.KeySpecEccSecgP256k1, sha256, 100_000, unknown},
	{types.KeySpecEccNistEdwards25519, whole, 4096, standard},
	{types.KeySpecMlDsa44, whole, 100_000, lattice},
	{types.KeySpecMlDsa65, whole, 100_000, lattice},
	{types.KeySpecMlDsa87, whole, 100_000, lattice},
}

func TestEverySignatureVerifiesElsewhere(t *testing.T) {
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	for _, tc := range specs {
		t.Run(string(tc.spec), func(t *testing.T) {
			s, der := open(t, srv, tc.spec)
			var made []signature
			for _, opts := range tc.opts {
				for _, length := range []int{1, 4096, 4097, 100_000} {
					if length <= tc.longest {
						message := bytes.Repeat([]byte{'m'}, length)
						for _, sig := range signBothWays(t, s, message, opts) {
							made = append(made, signature{der, opts, message, sig})
						}
					}
				}
			}
			for _, v := range tc.verifiers {
				t.Run(v.name, func(t *testing.T) {
					for _, m := range made {
						require.NoError(t, v.verify(t, m), "%T %v, %d bytes", m.opts, m.opts.HashFunc(), len(m.message))
					}
				})
			}
		})
	}
}

// TestVerifiersRefuse is what makes the test above worth something.
func TestVerifiersRefuse(t *testing.T) {
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	for _, tc := range specs {
		if tc.spec == types.KeySpecRsa3072 || tc.spec == types.KeySpecRsa4096 {
			continue // making one takes long
		}
		t.Run(string(tc.spec), func(t *testing.T) {
			s, der := open(t, srv, tc.spec)
			_, another := open(t, srv, tc.spec)
			for _, v := range tc.verifiers {
				t.Run(v.name, func(t *testing.T) {
					for _, opts := range tc.opts {
						sig, err := s.SignMessage(nil, []byte("message"), opts)
						require.NoError(t, err)
						require.NoError(t, v.verify(t, signature{der, opts, []byte("message"), sig}))
						require.Error(t, v.verify(t, signature{der, opts, []byte("messagf"), sig}))
						require.Error(t, v.verify(t, signature{another, opts, []byte("message"), sig}))
					}
				})
			}
		})
	}
}

// Signatures on this curve come with s in either half of its range.
func TestOpenSSLTakesBothHalvesOfSecp256k1(t *testing.T) {
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	s, der := open(t, srv, types.KeySpecEccSecgP256k1)
	for i := range 16 {
		message := []byte{byte(i)}
		sig, err := s.SignMessage(nil, message, crypto.SHA256)
		require.NoError(t, err)
		require.NoError(t, openSSL(t, signature{der, crypto.SHA256, message, sig}))
	}
}

func TestAnEmptyMLDSAMessageVerifiesElsewhere(t *testing.T) {
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	for _, spec := range []types.KeySpec{types.KeySpecMlDsa44, types.KeySpecMlDsa65, types.KeySpecMlDsa87} {
		s, der := open(t, srv, spec)
		sig, err := s.SignMessage(nil, nil, crypto.Hash(0))
		require.NoError(t, err)
		require.NoError(t, circl(t, signature{der, crypto.Hash(0), nil, sig}))
	}
}

// open makes a key and builds a signer of it. It returns the public key as KMS
// gives it, too.
func open(t *testing.T, srv *kmstest.Server, spec types.KeySpec) (*signer.Signer, []byte) {
	t.Helper()
	id := srv.CreateKey(spec)
	s, err := signer.NewBuilder(awskms.New(srv.Client(), id)).Defaults(signer.Defaults{}).Build(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	out, err := srv.Client().GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &id})
	require.NoError(t, err)
	return s, out.PublicKey
}

func signBothWays(t *testing.T, s *signer.Signer, message []byte, opts crypto.SignerOpts) [][]byte {
	t.Helper()
	whole, err := s.SignMessage(nil, message, opts)
	require.NoError(t, err)
	digested, err := s.Sign(nil, digest(opts.HashFunc(), message), opts)
	require.NoError(t, err)
	return [][]byte{whole, digested}
}

// digest is the message itself where there is no hash.
func digest(h crypto.Hash, message []byte) []byte {
	if h == 0 {
		return message
	}
	d := h.New()
	d.Write(message)
	return d.Sum(nil)
}

func standardLibrary(t *testing.T, s signature) error {
	parsed, err := x509.ParsePKIXPublicKey(s.publicKey)
	require.NoError(t, err)
	hash := s.opts.HashFunc()
	valid := false
	switch pub := parsed.(type) {
	case *rsa.PublicKey:
		if opts, ok := s.opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(pub, hash, digest(hash, s.message), s.sig, opts)
		}
		return rsa.VerifyPKCS1v15(pub, hash, digest(hash, s.message), s.sig)
	case *ecdsa.PublicKey:
		valid = ecdsa.VerifyASN1(pub, digest(hash, s.message), s.sig)
	case ed25519.PublicKey:
		valid = ed25519.Verify(pub, s.message, s.sig)
	}
	if !valid {
		return fmt.Errorf("a signature of a %T does not verify", parsed)
	}
	return nil
}
