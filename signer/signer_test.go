package signer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/timeout"
	"github.com/turretgo/turret/signer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keys in memory, made once.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[string]crypto.Signer{
		"RSA 2048":    must(rsa.GenerateKey(rand.Reader, 2048)),
		"ECDSA P-256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"ECDSA P-384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"ECDSA P-521": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"Ed25519":     ed,

		"ECDSA secp256k1": decredSigner{must(secp256k1.GeneratePrivateKey())},
		"ML-DSA-44":       must(mldsa.GenerateKey(mldsa.MLDSA44())),
		"ML-DSA-65":       must(mldsa.GenerateKey(mldsa.MLDSA65())),
		"ML-DSA-87":       must(mldsa.GenerateKey(mldsa.MLDSA87())),
	}
})

// decredSigner is a crypto.Signer as people write one around decred's key.
type decredSigner struct{ key *secp256k1.PrivateKey }

func (d decredSigner) Public() crypto.PublicKey { return d.key.PubKey() }

func (d decredSigner) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return secp256k1ecdsa.Sign(d.key, digest).Serialize(), nil
}

// inTLS are the names of the keys that crypto/tls and crypto/x509 know.
var inTLS = []string{"RSA 2048", "ECDSA P-256", "ECDSA P-384", "ECDSA P-521", "Ed25519"}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// fakeKey is a key in memory behind a Call of the test's own. It has no
// Algorithms, so that it pairs curves and hashes as a KMS does.
type fakeKey struct {
	crypto.Signer
	call  func(context.Context, signer.Request) (signer.Response, error)
	mu    sync.Mutex
	calls int
	name  string
}

func (k *fakeKey) Call(ctx context.Context, req signer.Request) (signer.Response, error) {
	k.mu.Lock()
	k.calls++
	k.mu.Unlock()
	if k.call != nil {
		return k.call(ctx, req)
	}
	return k.sign(req)
}

func (k *fakeKey) sign(req signer.Request) (signer.Response, error) {
	opts := req.Algorithm.SignerOpts()
	sig, err := k.Signer.Sign(rand.Reader, req.Message, opts)
	return signer.Response{Signature: sig, KeyID: "fake"}, err
}

func (k *fakeKey) Name() string                                   { return k.name }
func (k *fakeKey) ProvideKey(context.Context) (signer.Key, error) { return k, nil }

func fake(name string) *fakeKey { return &fakeKey{Signer: keys()[name]} }

func build(t *testing.T, b signer.Builder) *signer.Signer {
	t.Helper()
	s, err := b.Build(t.Context())
	require.NoError(t, err)
	return s
}

func digest(h crypto.Hash, message string) []byte {
	d := h.New()
	d.Write([]byte(message))
	return d.Sum(nil)
}

func pss(h crypto.Hash, salt int) *rsa.PSSOptions { return &rsa.PSSOptions{Hash: h, SaltLength: salt} }

// verifies fails the test unless sig is one over message, as Go's own verifiers see it.
func verifies(t *testing.T, pub crypto.PublicKey, message string, sig []byte, opts crypto.SignerOpts) {
	t.Helper()
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if _, ok := opts.(*rsa.PSSOptions); ok {
			salt := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			require.NoError(t, rsa.VerifyPSS(pub, opts.HashFunc(), digest(opts.HashFunc(), message), sig, salt))
			return
		}
		require.NoError(t, rsa.VerifyPKCS1v15(pub, opts.HashFunc(), digest(opts.HashFunc(), message), sig))
	case *ecdsa.PublicKey:
		require.True(t, ecdsa.VerifyASN1(pub, digest(opts.HashFunc(), message), sig))
	case *secp256k1.PublicKey:
		require.True(t, ecdsa.VerifyASN1(pub.ToECDSA(), digest(opts.HashFunc(), message), sig))
	case ed25519.PublicKey:
		require.True(t, ed25519.Verify(pub, []byte(message), sig))
	case *mldsa.PublicKey:
		require.NoError(t, mldsa.Verify(pub, []byte(message), sig, nil))
	default:
		t.Fatalf("a public key of type %T", pub)
	}
}

func TestEveryKeySignsWithEveryAlgorithmItHas(t *testing.T) {
	for _, tc := range []struct {
		key  string
		opts []crypto.SignerOpts
	}{
		{"RSA 2048", []crypto.SignerOpts{
			crypto.SHA256, crypto.SHA384, crypto.SHA512,
			pss(crypto.SHA256, rsa.PSSSaltLengthEqualsHash), pss(crypto.SHA384, rsa.PSSSaltLengthAuto), pss(crypto.SHA512, 64),
		}},
		{"ECDSA P-256", []crypto.SignerOpts{crypto.SHA256}},
		{"ECDSA P-384", []crypto.SignerOpts{crypto.SHA384}},
		{"ECDSA P-521", []crypto.SignerOpts{crypto.SHA512}},
		{"ECDSA secp256k1", []crypto.SignerOpts{crypto.SHA256}},
		{"Ed25519", []crypto.SignerOpts{crypto.Hash(0), &ed25519.Options{}}},
		{"ML-DSA-44", []crypto.SignerOpts{crypto.Hash(0), &mldsa.Options{}}},
		{"ML-DSA-65", []crypto.SignerOpts{crypto.Hash(0), &mldsa.Options{}}},
		{"ML-DSA-87", []crypto.SignerOpts{crypto.Hash(0), &mldsa.Options{}}},
	} {
		s := build(t, signer.NewBuilder(fake(tc.key)))
		for _, opts := range tc.opts {
			t.Run(fmt.Sprintf("%s %T %v", tc.key, opts, opts.HashFunc()), func(t *testing.T) {
				const message = "the message"
				signed := []byte(message)
				if h := opts.HashFunc(); h != 0 {
					signed = digest(h, message)
				}
				sig, err := s.Sign(rand.Reader, signed, opts)
				require.NoError(t, err)
				verifies(t, s.Public(), message, sig, opts)
				sig, err = s.SignMessage(nil, []byte(message), opts)
				require.NoError(t, err)
				verifies(t, s.Public(), message, sig, opts)
				sig, err = s.SignContext(t.Context(), nil, signed, opts)
				require.NoError(t, err)
				verifies(t, s.Public(), message, sig, opts)
			})
		}
	}
}

func TestWhatAKeyCannotDoIsRefusedBeforeItIsAsked(t *testing.T) {
	d := make([]byte, 32)
	for name, tc := range map[string]struct {
		key    string
		digest []byte
		opts   crypto.SignerOpts
		want   string
	}{
		"nil opts":                 {"ECDSA P-256", d, nil, "signer: ECDSA P-256 key cannot sign without options: opts are nil; pass the crypto.Hash that made the digest"},
		"typed nil PSS opts":       {"RSA 2048", d, (*rsa.PSSOptions)(nil), "signer: RSA 2048 key cannot sign without options: opts are nil; pass the crypto.Hash that made the digest, or an *rsa.PSSOptions"},
		"typed nil Ed25519 opts":   {"Ed25519", d, (*ed25519.Options)(nil), "signer: Ed25519 key cannot sign without options: opts are nil; pass crypto.Hash(0), and the message itself"},
		"SHA-1":                    {"RSA 2048", make([]byte, sha1.Size), crypto.SHA1, "signer: RSA 2048 key cannot sign a SHA-1 digest: it signs with RSASSA_PSS_SHA_256, RSASSA_PSS_SHA_384, RSASSA_PSS_SHA_512, RSASSA_PKCS1_V1_5_SHA_256, RSASSA_PKCS1_V1_5_SHA_384, RSASSA_PKCS1_V1_5_SHA_512 only"},
		"MD5+SHA-1":                {"ECDSA P-256", make([]byte, md5.Size+sha1.Size), crypto.MD5SHA1, "signer: ECDSA P-256 key cannot sign a MD5+SHA1 digest: it signs with ECDSA_SHA_256 only"},
		"SHA-224":                  {"ECDSA P-256", make([]byte, sha256.Size224), crypto.SHA224, "signer: ECDSA P-256 key cannot sign a SHA-224 digest: it signs with ECDSA_SHA_256 only"},
		"SHA3-256":                 {"ECDSA P-256", d, crypto.SHA3_256, "signer: ECDSA P-256 key cannot sign a SHA3-256 digest: it signs with ECDSA_SHA_256 only"},
		"a hash there is not":      {"ECDSA P-256", d, crypto.Hash(99), "signer: ECDSA P-256 key cannot sign a unknown hash value 99 digest: it signs with ECDSA_SHA_256 only"},
		"short digest":             {"ECDSA P-256", d[:31], crypto.SHA256, "signer: ECDSA P-256 key cannot sign 31 bytes as a SHA-256 digest; one has 32"},
		"long digest":              {"RSA 2048", make([]byte, 48), crypto.SHA256, "signer: RSA 2048 key cannot sign 48 bytes as a SHA-256 digest; one has 32"},
		"no digest":                {"ECDSA P-256", nil, crypto.SHA256, "signer: ECDSA P-256 key cannot sign 0 bytes as a SHA-256 digest; one has 32"},
		"no hash, ECDSA":           {"ECDSA P-256", d, crypto.Hash(0), "signer: ECDSA P-256 key signs digests, and opts name no hash; pass the crypto.Hash that made the digest"},
		"no hash, RSA":             {"RSA 2048", d, crypto.Hash(0), "signer: RSA 2048 key signs digests, and opts name no hash; pass the crypto.Hash that made the digest"},
		"no hash, PSS":             {"RSA 2048", d, &rsa.PSSOptions{}, "signer: RSA 2048 key signs digests, and opts name no hash; pass the crypto.Hash that made the digest"},
		"salt of another length":   {"RSA 2048", d, pss(crypto.SHA256, 20), "signer: RSA 2048 key cannot make an RSA-PSS signature with a salt of 20 bytes; the salt is as long as the hash: use rsa.PSSSaltLengthEqualsHash"},
		"salt below all constants": {"RSA 2048", d, pss(crypto.SHA256, -7), "signer: RSA 2048 key cannot make an RSA-PSS signature with a salt of -7 bytes; the salt is as long as the hash: use rsa.PSSSaltLengthEqualsHash"},
		"PSS on ECDSA":             {"ECDSA P-256", d, pss(crypto.SHA256, rsa.PSSSaltLengthAuto), "signer: ECDSA P-256 key cannot make an RSA-PSS signature, as *rsa.PSSOptions ask; pass the crypto.Hash that made the digest"},
		"PSS on Ed25519":           {"Ed25519", d, pss(crypto.SHA256, rsa.PSSSaltLengthAuto), "signer: Ed25519 key cannot make an RSA-PSS signature, as *rsa.PSSOptions ask; pass crypto.Hash(0), and the message itself"},
		"P-384 with SHA-256":       {"ECDSA P-384", d, crypto.SHA256, "signer: ECDSA P-384 key cannot sign a SHA-256 digest: it signs with ECDSA_SHA_384 only"},
		"P-521 with SHA-384":       {"ECDSA P-521", make([]byte, sha512.Size384), crypto.SHA384, "signer: ECDSA P-521 key cannot sign a SHA-384 digest: it signs with ECDSA_SHA_512 only"},
		"secp256k1 with SHA-512":   {"ECDSA secp256k1", make([]byte, 64), crypto.SHA512, "signer: ECDSA secp256k1 key cannot sign a SHA-512 digest: it signs with ECDSA_SHA_256 only"},
		"PSS on secp256k1":         {"ECDSA secp256k1", d, pss(crypto.SHA256, 32), "signer: ECDSA secp256k1 key cannot make an RSA-PSS signature, as *rsa.PSSOptions ask; pass the crypto.Hash that made the digest"},
		"no hash, secp256k1":       {"ECDSA secp256k1", d, crypto.Hash(0), "signer: ECDSA secp256k1 key signs digests, and opts name no hash; pass the crypto.Hash that made the digest"},
		"a hash on Ed25519":        {"Ed25519", d, crypto.SHA256, "signer: Ed25519 key signs messages, not SHA-256 digests (Ed25519ph); pass the message, and crypto.Hash(0)"},
		"Ed25519ph":                {"Ed25519", make([]byte, 64), &ed25519.Options{Hash: crypto.SHA512}, "signer: Ed25519 key signs messages, not SHA-512 digests (Ed25519ph); pass the message, and crypto.Hash(0)"},
		"Ed25519ctx":               {"Ed25519", d, &ed25519.Options{Context: "x"}, "signer: Ed25519 key cannot sign with a context (Ed25519ctx); leave ed25519.Options.Context empty"},
		"Ed25519 opts on ML-DSA":   {"ML-DSA-44", d, &ed25519.Options{}, "signer: ML-DSA-44 key cannot make an Ed25519 signature, as *ed25519.Options ask; pass crypto.Hash(0), and the message itself"},
		"ML-DSA opts on Ed25519":   {"Ed25519", d, &mldsa.Options{}, "signer: Ed25519 key cannot make an ML-DSA signature, as *mldsa.Options ask; pass crypto.Hash(0), and the message itself"},
		"ML-DSA opts on RSA":       {"RSA 2048", d, &mldsa.Options{}, "signer: RSA 2048 key cannot make an ML-DSA signature, as *mldsa.Options ask; pass the crypto.Hash that made the digest, or an *rsa.PSSOptions"},
		"PSS on ML-DSA":            {"ML-DSA-87", d, pss(crypto.SHA256, 32), "signer: ML-DSA-87 key cannot make an RSA-PSS signature, as *rsa.PSSOptions ask; pass crypto.Hash(0), and the message itself"},
		"nil opts, ML-DSA":         {"ML-DSA-65", d, nil, "signer: ML-DSA-65 key cannot sign without options: opts are nil; pass crypto.Hash(0), and the message itself"},
		"typed nil ML-DSA opts":    {"ML-DSA-65", d, (*mldsa.Options)(nil), "signer: ML-DSA-65 key cannot sign without options: opts are nil; pass crypto.Hash(0), and the message itself"},
		"a context, ML-DSA":        {"ML-DSA-65", d, &mldsa.Options{Context: "x"}, "signer: ML-DSA-65 key cannot sign with a context; leave mldsa.Options.Context empty"},
		"a hash on ML-DSA":         {"ML-DSA-65", d, crypto.SHA256, "signer: ML-DSA-65 key signs messages, not SHA-256 digests (HashML-DSA); pass the message, and crypto.Hash(0)"},
		"mu on ML-DSA":             {"ML-DSA-65", make([]byte, 64), mldsacrypto.MLDSAMu, "signer: ML-DSA-65 key signs messages, not their μ (MLDSAMu); pass the message, and crypto.Hash(0)"},
		"Ed25519 opts on ECDSA":    {"ECDSA P-256", d, &ed25519.Options{}, "signer: ECDSA P-256 key cannot make an Ed25519 signature, as *ed25519.Options ask; pass the crypto.Hash that made the digest"},
	} {
		t.Run(name, func(t *testing.T) {
			key := fake(tc.key)
			s := build(t, signer.NewBuilder(key))
			_, err := s.Sign(rand.Reader, tc.digest, tc.opts)
			require.EqualError(t, err, tc.want)
			var e *signer.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tc.key, e.KeyType)
			require.Equal(t, turret.Permanent, turret.Classify(err))
			require.Zero(t, key.calls)

			if tc.digest != nil && len(tc.digest) != 31 && len(tc.digest) != 48 || tc.opts == nil {
				_, err = s.SignMessage(rand.Reader, []byte("message"), tc.opts)
				require.EqualError(t, err, tc.want, "SignMessage refuses the same")
			}
		})
	}
	_ = sha3.New256 // linked in: SHA3-256 is refused although it is there
}

func TestContextThatHasEndedReachesNoKey(t *testing.T) {
	key := fake("ECDSA P-256")
	s := build(t, signer.NewBuilder(key))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	for _, ctx := range []context.Context{canceled, expired} {
		_, err := s.SignContext(ctx, nil, make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, ctx.Err())
		var e *signer.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
		_, err = s.WithContext(ctx).Sign(nil, make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, ctx.Err())
	}
	require.Zero(t, key.calls)
}

// hang answers no sooner than its context ends.
func hang(ctx context.Context, _ signer.Request) (signer.Response, error) {
	<-ctx.Done()
	return signer.Response{}, ctx.Err()
}

func TestSignWithoutAContextIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := fake("ECDSA P-256")
		key.call = hang
		s := build(t, signer.NewBuilder(key))
		start := time.Now()
		_, err := s.Sign(nil, make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, signer.DefaultTimeout, time.Since(start))
	})
}

func TestWithContextBindsACopyAndSignContextWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := fake("ECDSA P-256")
		key.call = hang
		s := build(t, signer.NewBuilder(key).Timeout(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		bound := s.WithContext(ctx)
		require.NotSame(t, s, bound)
		require.Equal(t, s.Public(), bound.Public())

		start := time.Now()
		_, err := bound.SignMessage(nil, nil, crypto.SHA256)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, time.Second, time.Since(start))

		start = time.Now()
		later, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = bound.SignContext(later, nil, make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(start))

		start = time.Now()
		_, err = s.Sign(nil, make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, time.Hour, time.Since(start), "the original is as it was")
	})
}

func TestNilContextIsNone(t *testing.T) {
	s := build(t, signer.NewBuilder(fake("ECDSA P-256")))
	var none context.Context
	_, err := s.WithContext(none).Sign(nil, make([]byte, 32), crypto.SHA256)
	require.NoError(t, err)
}

func TestSignatureThatDoesNotVerifyIsThrownAway(t *testing.T) {
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, corrupt := range map[string]func(signer.Request, []byte) []byte{
		"empty":         func(signer.Request, []byte) []byte { return nil },
		"garbage":       func(signer.Request, []byte) []byte { return []byte("garbage") },
		"a bit flipped": func(_ signer.Request, sig []byte) []byte { sig[len(sig)-1] ^= 1; return sig },
		"another key's": func(req signer.Request, _ []byte) []byte {
			return must(other.Sign(rand.Reader, req.Message, crypto.SHA256))
		},
		"of another message": func(signer.Request, []byte) []byte {
			return must(keys()["ECDSA P-256"].Sign(rand.Reader, make([]byte, 32), crypto.SHA256))
		},
	} {
		t.Run(name, func(t *testing.T) {
			key := fake("ECDSA P-256")
			key.call = func(_ context.Context, req signer.Request) (signer.Response, error) {
				resp, err := key.sign(req)
				resp.Signature = corrupt(req, resp.Signature)
				return resp, err
			}
			sig, err := build(t, signer.NewBuilder(key)).SignMessage(nil, []byte("message"), crypto.SHA256)
			require.Nil(t, sig)
			require.ErrorIs(t, err, signer.ErrBadSignature)
			require.Equal(t, turret.Transient, turret.Classify(err))
			require.NotContains(t, err.Error(), "message")

			_, err = build(t, signer.NewBuilder(key).SkipVerify()).SignMessage(nil, []byte("message"), crypto.SHA256)
			if name == "empty" {
				require.ErrorIs(t, err, signer.ErrBadSignature)
			} else {
				require.NoError(t, err, "SkipVerify does what it says")
			}
		})
	}
}

func TestVerificationKnowsEveryAlgorithm(t *testing.T) {
	for name, opts := range map[string]crypto.SignerOpts{
		"RSA 2048": crypto.SHA384, "RSA 2048 ": pss(crypto.SHA512, rsa.PSSSaltLengthAuto),
		"ECDSA P-521": crypto.SHA512, "ECDSA secp256k1": crypto.SHA256, "Ed25519": crypto.Hash(0),
		"ML-DSA-44": crypto.Hash(0), "ML-DSA-65": crypto.Hash(0), "ML-DSA-87": crypto.Hash(0),
	} {
		name = string(bytes.TrimSpace([]byte(name)))
		key := fake(name)
		key.call = func(_ context.Context, req signer.Request) (signer.Response, error) {
			req.Message = bytes.Clone(req.Message)
			req.Message[0] ^= 1
			return key.sign(req)
		}
		_, err := build(t, signer.NewBuilder(key)).SignMessage(nil, []byte("message"), opts)
		require.ErrorIs(t, err, signer.ErrBadSignature, name)
	}
}

func TestCallersSliceIsNotKept(t *testing.T) {
	var kept []byte
	key := fake("ECDSA P-256")
	key.call = func(_ context.Context, req signer.Request) (signer.Response, error) {
		kept = req.Message
		return key.sign(req)
	}
	d := digest(crypto.SHA256, "message")
	_, err := build(t, signer.NewBuilder(key)).Sign(nil, d, crypto.SHA256)
	require.NoError(t, err)
	d[0] ^= 1
	require.NotEqual(t, d, kept)
}

func TestReadyDescribeAndCloseWorkOnTheBox(t *testing.T) {
	key := &closableKey{fakeKey: fake("ECDSA P-256")}
	s := build(t, signer.NewBuilder(signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { return key, nil })))
	require.Equal(t, "signer ECDSA P-256\ntimeout 30s\nverify\nkey in memory", turret.Describe(s))
	require.NoError(t, turret.Ready(s))
	key.down = errors.New("down")
	require.EqualError(t, turret.Ready(s), "down")
	require.NoError(t, turret.Close(s))
	require.NoError(t, s.Close())
	require.Equal(t, 1, key.closed)
	require.ErrorIs(t, turret.Ready(s), signer.ErrClosed)
	_, err := s.WithContext(t.Context()).SignMessage(nil, nil, crypto.SHA256)
	require.ErrorIs(t, err, signer.ErrClosed)
	require.Equal(t, turret.Permanent, turret.Classify(err))
}

func TestZeroSignerSaysThatItWasNotBuilt(t *testing.T) {
	const want = "signer: the Signer has no key, for it was not built; NewBuilder(…).Build makes one"
	var zero signer.Signer // of a struct whose field nobody set, say
	for _, s := range []*signer.Signer{&zero, zero.WithContext(t.Context())} {
		_, err := s.Sign(nil, make([]byte, 32), crypto.SHA256)
		require.EqualError(t, err, want)
		require.Equal(t, turret.Permanent, turret.Classify(err))
		_, err = s.SignContext(t.Context(), nil, nil, nil)
		require.EqualError(t, err, want)
		_, err = s.SignMessage(nil, nil, crypto.SHA256)
		require.EqualError(t, err, want)
		require.EqualError(t, turret.Ready(s), want)
		require.Equal(t, "signer, not built", turret.Describe(s))
		require.Nil(t, s.Public())
		require.Empty(t, s.Algorithms())
		require.Zero(t, s.Stats())
		require.NoError(t, turret.Close(s))

		_, err = x509.CreateCertificateRequest(nil, &x509.CertificateRequest{}, s)
		require.Error(t, err)
		_, err = signer.Certificate(nil, s)
		require.Error(t, err)
		_, err = signer.NewBuilder(signer.Wrap(s, signer.WrapOptions{})).Build(t.Context())
		require.Error(t, err)
	}
}

func TestCauseOfAContextThatHasEndedIsTold(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("deploy in progress"))
	_, err := build(t, signer.NewBuilder(fake("Ed25519"))).SignContext(ctx, nil, nil, crypto.Hash(0))
	require.EqualError(t, err, "signer: nothing was signed, for the context had ended before: context canceled: deploy in progress")
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, turret.Canceled, turret.Classify(err))
}

type closableKey struct {
	*fakeKey
	down   error
	closed int
}

func (k *closableKey) String() string { return "key in memory" }
func (k *closableKey) Ready() error   { return k.down }
func (k *closableKey) Close() error   { k.closed++; return nil }

func TestManyAtOnce(t *testing.T) {
	for name, opts := range map[string]crypto.SignerOpts{
		"ECDSA P-256": crypto.SHA256, "ECDSA secp256k1": crypto.SHA256, "ML-DSA-44": crypto.Hash(0),
	} {
		s := build(t, signer.NewBuilder(signer.Wrap(keys()[name], signer.WrapOptions{})).Defaults(signer.Defaults{}))
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				message := fmt.Sprintf("message %d", i)
				sig, err := s.SignMessage(rand.Reader, []byte(message), opts)
				if err == nil {
					signed := []byte(message)
					if h := opts.HashFunc(); h != 0 {
						signed = digest(h, message)
					}
					err = verifyDigest(s.Public(), signed, sig, opts)
				}
				if err != nil {
					t.Errorf("%s, signature %d: %v", name, i, err)
				}
			})
		}
		wg.Wait()
	}
}

// FuzzSign holds the box against Go's own keys: whatever it signs, they verify,
// and whatever it refuses, it says why and asks no key.
func FuzzSign(f *testing.F) {
	names := []string{"RSA 2048", "ECDSA P-256", "ECDSA P-384", "ECDSA P-521", "Ed25519", "ECDSA secp256k1", "ML-DSA-44"}
	f.Add(uint8(0), uint8(crypto.SHA256), true, -1, []byte("x"))
	f.Add(uint8(1), uint8(crypto.SHA256), false, 0, make([]byte, 32))
	f.Add(uint8(4), uint8(0), false, 0, []byte("message"))
	f.Add(uint8(5), uint8(crypto.SHA256), false, 0, make([]byte, 32))
	f.Add(uint8(6), uint8(0), false, 0, []byte("message"))
	f.Add(uint8(6), uint8(mldsacrypto.MLDSAMu), false, 0, make([]byte, 64))
	f.Fuzz(func(t *testing.T, key, h uint8, isPSS bool, salt int, message []byte) {
		k := fake(names[int(key)%len(names)])
		s := build(t, signer.NewBuilder(k))
		var opts crypto.SignerOpts = crypto.Hash(h)
		if isPSS {
			opts = pss(crypto.Hash(h), salt)
		}
		sig, err := s.Sign(nil, message, opts)
		var e *signer.Error
		switch {
		case errors.As(err, &e):
			require.Zero(t, k.calls)
		case err != nil:
			t.Fatalf("no *signer.Error: %v", err)
		default:
			require.NoError(t, verifyDigest(s.Public(), message, sig, opts))
		}
	})
}

func verifyDigest(pub crypto.PublicKey, message, sig []byte, opts crypto.SignerOpts) error {
	valid := false
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if _, ok := opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(pub, opts.HashFunc(), message, sig, nil)
		}
		return rsa.VerifyPKCS1v15(pub, opts.HashFunc(), message, sig)
	case *ecdsa.PublicKey:
		valid = ecdsa.VerifyASN1(pub, message, sig)
	case *secp256k1.PublicKey:
		valid = ecdsa.VerifyASN1(pub.ToECDSA(), message, sig)
	case ed25519.PublicKey:
		valid = ed25519.Verify(pub, message, sig)
	case *mldsa.PublicKey:
		return mldsa.Verify(pub, message, sig, nil)
	}
	if !valid {
		return errors.New("does not verify")
	}
	return nil
}
