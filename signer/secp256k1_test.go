package signer_test

import (
	"context"
	"crypto"
	"encoding/asn1"
	"math/big"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

type ecdsaSignature struct{ R, S *big.Int }

// TestSecp256k1SignatureIsVerifiedStrictly has a key answer with its signature in
// another form.
func TestSecp256k1SignatureIsVerifiedStrictly(t *testing.T) {
	n := secp256k1.Params().N
	for name, tc := range map[string]struct {
		alter func(ecdsaSignature) []byte
		valid bool
	}{
		"as it is":      {func(s ecdsaSignature) []byte { return must(asn1.Marshal(s)) }, true},
		"s in the half": {func(s ecdsaSignature) []byte { s.S = new(big.Int).Sub(n, s.S); return must(asn1.Marshal(s)) }, true},
		"r is 0":        {func(s ecdsaSignature) []byte { s.R = big.NewInt(0); return must(asn1.Marshal(s)) }, false},
		"s is 0":        {func(s ecdsaSignature) []byte { s.S = big.NewInt(0); return must(asn1.Marshal(s)) }, false},
		"s is n":        {func(s ecdsaSignature) []byte { s.S = n; return must(asn1.Marshal(s)) }, false},
		"s plus n":      {func(s ecdsaSignature) []byte { s.S.Add(s.S, n); return must(asn1.Marshal(s)) }, false},
		"r plus n":      {func(s ecdsaSignature) []byte { s.R.Add(s.R, n); return must(asn1.Marshal(s)) }, false},
		"s negative":    {func(s ecdsaSignature) []byte { s.S.Neg(s.S); return must(asn1.Marshal(s)) }, false},
		"r and s swapped": {func(s ecdsaSignature) []byte {
			return must(asn1.Marshal(ecdsaSignature{s.S, s.R}))
		}, false},
		"a byte behind": {func(s ecdsaSignature) []byte { return append(must(asn1.Marshal(s)), 0) }, false},
		"a byte short":  {func(s ecdsaSignature) []byte { der := must(asn1.Marshal(s)); return der[:len(der)-1] }, false},
		"not in DER": {func(s ecdsaSignature) []byte { // the length in two bytes
			der := must(asn1.Marshal(s))
			return append([]byte{0x30, 0x81, der[1]}, der[2:]...)
		}, false},
		"64 raw bytes": {func(s ecdsaSignature) []byte {
			return append(s.R.FillBytes(make([]byte, 32)), s.S.FillBytes(make([]byte, 32))...)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			key := fake("ECDSA secp256k1")
			key.call = func(_ context.Context, req signer.Request) (signer.Response, error) {
				resp, err := key.sign(req)
				var sig ecdsaSignature
				if _, err := asn1.Unmarshal(resp.Signature, &sig); err != nil {
					return signer.Response{}, err
				}
				resp.Signature = tc.alter(sig)
				return resp, err
			}
			sig, err := build(t, signer.NewBuilder(key)).SignMessage(nil, []byte("message"), crypto.SHA256)
			if tc.valid {
				require.NoError(t, err)
				verifies(t, key.Public(), "message", sig, crypto.SHA256)
				return
			}
			require.ErrorIs(t, err, signer.ErrBadSignature)
			require.Equal(t, turret.Transient, turret.Classify(err))
		})
	}
}

func TestSecp256k1ReplicasAreComparedByTheirPoint(t *testing.T) {
	private := must(secp256k1.GeneratePrivateKey())
	here, there := &fakeKey{Signer: decredSigner{private}, name: "here"}, &fakeKey{Signer: decredSigner{private}, name: "there"}
	require.NotSame(t, here.Public(), there.Public())
	_, err := signer.Replicate(here, there)
	require.NoError(t, err)
	for _, other := range []*fakeKey{fake("ECDSA secp256k1"), fake("ECDSA P-256")} {
		_, err = signer.Replicate(here, other)
		require.ErrorContains(t, err, "has another public half")
		_, err = signer.Replicate(other, here)
		require.ErrorContains(t, err, "has another public half")
	}
}
