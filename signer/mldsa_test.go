package signer_test

import (
	"bytes"
	"context"
	"crypto"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
)

var mldsaNames = []string{"ML-DSA-44", "ML-DSA-65", "ML-DSA-87"}

func TestMLDSAKeyInMemorySignsThroughWrap(t *testing.T) {
	for _, name := range mldsaNames {
		for _, o := range []signer.WrapOptions{{}, {Serial: true}} {
			s := build(t, signer.NewBuilder(signer.Wrap(keys()[name], o)))
			for _, message := range []string{"", "m", string(make([]byte, 100_000))} {
				sig, err := s.SignMessage(nil, []byte(message), crypto.Hash(0))
				require.NoError(t, err)
				verifies(t, s.Public(), message, sig, nil)
			}
			require.NoError(t, s.Close())
		}
	}
}

func TestMLDSASignatureOfAnotherVariantIsThrownAway(t *testing.T) {
	for _, name := range mldsaNames {
		private := keys()[name].(*mldsa.PrivateKey)
		for variant, answer := range map[string]func(message []byte) ([]byte, error){
			"with a context": func(m []byte) ([]byte, error) { return private.Sign(nil, m, &mldsa.Options{Context: "x"}) },
			"over a mu that is none": func(m []byte) ([]byte, error) {
				return private.Sign(nil, bytes.Repeat([]byte{1}, 64), mldsacrypto.MLDSAMu)
			},
			"another key's": func(m []byte) ([]byte, error) {
				return must(mldsa.GenerateKey(private.PublicKey().Parameters())).Sign(nil, m, nil)
			},
			"a byte behind": func(m []byte) ([]byte, error) { sig, err := private.Sign(nil, m, nil); return append(sig, 0), err },
			"a byte short":  func(m []byte) ([]byte, error) { sig, err := private.Sign(nil, m, nil); return sig[1:], err },
		} {
			key := fake(name)
			key.call = func(_ context.Context, req signer.Request) (signer.Response, error) {
				sig, err := answer(req.Message)
				return signer.Response{Signature: sig}, err
			}
			_, err := build(t, signer.NewBuilder(key)).SignMessage(nil, []byte("message"), crypto.Hash(0))
			require.ErrorIs(t, err, signer.ErrBadSignature, "%s %s", name, variant)
		}
	}
}

func TestMLDSAReplicasAreCompared(t *testing.T) {
	_, err := signer.Replicate(fake("ML-DSA-44"), fake("ML-DSA-44"))
	require.NoError(t, err)
	for _, other := range []string{"ML-DSA-65", "Ed25519"} {
		_, err = signer.Replicate(fake("ML-DSA-44"), fake(other))
		require.ErrorContains(t, err, "has another public half")
	}
}

func TestSignerOptsOfMLDSAAreNoHash(t *testing.T) {
	require.Equal(t, crypto.Hash(0), signer.ML_DSA_SHAKE_256.SignerOpts())
	require.Zero(t, signer.ML_DSA_SHAKE_256.Hash())
}
