package signer_test

import (
	"context"
	"crypto"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// making is a layer that makes each request anew.
func making(made signer.Request) signer.Layer {
	return func(next signer.Service) signer.Service {
		return turret.ServiceFunc[signer.Request, signer.Response](func(ctx context.Context, _ signer.Request) (signer.Response, error) {
			return next.Call(ctx, made)
		})
	}
}

func TestRequestThatNoSignerMakesReachesNoKey(t *testing.T) {
	digest := make([]byte, 32)
	for name, tc := range map[string]struct {
		key  string
		made signer.Request
		want string
	}{
		"nothing":                {"ECDSA P-256", signer.Request{}, `an ECDSA P-256 key has no algorithm ""; it may have ECDSA_SHA_256, `},
		"an unknown algorithm":   {"RSA 2048", signer.Request{Algorithm: "ROT13", MessageType: signer.Raw}, `has no algorithm "ROT13"`},
		"another family's":       {"ML-DSA-44", signer.Request{Algorithm: signer.ED25519_SHA_512, MessageType: signer.Raw}, "it may have ML_DSA_SHAKE_256"},
		"the other way round":    {"Ed25519", signer.Request{Algorithm: signer.ML_DSA_SHAKE_256, MessageType: signer.Raw}, "it may have ED25519_SHA_512"},
		"no type":                {"ECDSA P-256", signer.Request{Algorithm: signer.ECDSA_SHA_256, Message: digest}, `ECDSA_SHA_256 does not sign what is of type ""`},
		"an unknown type":        {"ECDSA P-256", signer.Request{Algorithm: signer.ECDSA_SHA_256, MessageType: "EXTERNAL_MU", Message: digest}, `of type "EXTERNAL_MU"`},
		"a message for a digest": {"ECDSA P-256", signer.Request{Algorithm: signer.ECDSA_SHA_256, MessageType: signer.Digest, Message: make([]byte, 5000)}, "5000 bytes are no SHA-256 digest; one has 32"},
		"no digest":              {"ECDSA secp256k1", signer.Request{Algorithm: signer.ECDSA_SHA_256, MessageType: signer.Digest}, "0 bytes are no SHA-256 digest"},
		"a digest for a message": {"Ed25519", signer.Request{Algorithm: signer.ED25519_SHA_512, MessageType: signer.Digest, Message: digest}, `ED25519_SHA_512 does not sign what is of type "DIGEST"`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, skip := range []bool{false, true} {
				key := fake(tc.key)
				b := signer.NewBuilder(key).Use(making(tc.made))
				if skip {
					b = b.SkipVerify()
				}
				s := build(t, b)
				_, err := s.SignMessage(nil, []byte("message"), s.Algorithms()[0].SignerOpts())
				require.ErrorContains(t, err, "a layer changed the request")
				require.ErrorContains(t, err, tc.want)
				require.Equal(t, turret.Permanent, turret.Classify(err))
				require.Zero(t, key.calls)
			}
		})
	}
}

// The other algorithms of a key's family are a layer's to choose.
func TestLayerMayChooseAmongTheAlgorithmsOfTheKeysFamily(t *testing.T) {
	made := signer.Request{Algorithm: signer.RSASSA_PSS_SHA_384, MessageType: signer.Digest, Message: digest(crypto.SHA384, "message")}
	s := build(t, signer.NewBuilder(fake("RSA 2048")).Use(making(made)))
	sig, err := s.SignMessage(nil, []byte("message"), crypto.SHA256)
	require.NoError(t, err)
	verifies(t, s.Public(), "message", sig, pss(crypto.SHA384, 0))
}
