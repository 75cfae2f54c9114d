package signertest_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"testing"
	"time"

	"filippo.io/mldsa"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
	"github.com/turretgo/turret/signer/signertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keys are made once.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	all := map[string]crypto.Signer{"Ed25519": ed}
	for name, curve := range map[string]elliptic.Curve{"ECDSA P-256": elliptic.P256(), "ECDSA P-384": elliptic.P384(), "ECDSA P-521": elliptic.P521()} {
		if err == nil {
			all[name], err = ecdsa.GenerateKey(curve, rand.Reader)
		}
	}
	if err == nil {
		all["ML-DSA-44"], err = mldsa.GenerateKey(mldsa.MLDSA44())
	}
	if err == nil {
		all["RSA 2048"], err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		panic(err)
	}
	return all
})

func deviations(key crypto.Signer) []signertest.Deviation {
	switch key.(type) {
	case *rsa.PrivateKey:
		return []signertest.Deviation{signertest.MayTrustOptions, signertest.MayPanicWithoutRand}
	case *ecdsa.PrivateKey:
		return []signertest.Deviation{signertest.MayTrustOptions, signertest.MayTrustDigests}
	}
	return []signertest.Deviation{signertest.MayTrustOptions}
}

func TestKeysInMemoryConform(t *testing.T) {
	for name, key := range keys() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signertest.Run(t, func() crypto.Signer { return key }, deviations(key)...)
		})
	}
}

// patient are the recommended stack, but for its patience: under the race
// detector 64 signatures on P-521 may take a machine longer than a KMS.
var patient = signer.Defaults{Timeout: 5 * time.Minute, AttemptTimeout: 2 * time.Minute}

// build returns a signer, which the test closes.
func build(t *testing.T, p signer.KeyProvider) *signer.Signer {
	t.Helper()
	s, err := signer.NewBuilder(p).Defaults(patient).Build(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestWrappedKeysConform(t *testing.T) {
	for kind, o := range map[string]signer.WrapOptions{"concurrent": {}, "serial": {Serial: true}} {
		for name, key := range keys() {
			if name == "ECDSA P-521" {
				continue // it is slow, and nothing new to Wrap
			}
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				s := build(t, signer.Wrap(key, o))
				signertest.Run(t, func() crypto.Signer { return s })
			})
		}
	}
}

func TestASignerAroundASignerConforms(t *testing.T) {
	inner := build(t, signer.Wrap(keys()["ECDSA P-256"], signer.WrapOptions{}))
	s := build(t, signer.Wrap(inner, signer.WrapOptions{}))
	signertest.Run(t, func() crypto.Signer { return s })
}

func TestKeysInKMSConform(t *testing.T) {
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	for spec, algorithms := range map[types.KeySpec]int{
		types.KeySpecRsa2048:             6,
		types.KeySpecRsa3072:             6,
		types.KeySpecRsa4096:             6,
		types.KeySpecEccNistP256:         1,
		types.KeySpecEccNistP384:         1,
		types.KeySpecEccNistP521:         1,
		types.KeySpecEccSecgP256k1:       1,
		types.KeySpecEccNistEdwards25519: 1,
		types.KeySpecMlDsa44:             1,
		types.KeySpecMlDsa65:             1,
		types.KeySpecMlDsa87:             1,
	} {
		t.Run(string(spec), func(t *testing.T) {
			t.Parallel()
			s := build(t, awskms.New(srv.Client(), srv.CreateKey(spec)))
			require.Len(t, s.Algorithms(), algorithms, "what is not listed need not conform")
			signertest.Run(t, func() crypto.Signer { return s })
		})
	}
}

func TestACancelledContextReachesNoKMS(t *testing.T) {
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	s := build(t, awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.SignContext(ctx, nil, make([]byte, 32), crypto.SHA256)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, srv.Stats().Op("Sign").Requests)
}
