package kmstest

import (
	"bytes"
	"crypto"
	"io"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
)

// muSize is the length of ML-DSA's message representative μ, in bytes.
const muSize = 64

// An mldsaKey is a private key that signs deterministically, so that a message
// and its μ have the same signature.
type mldsaKey struct{ private *mldsa.PrivateKey }

func newMLDSAKey(params mldsa.Parameters) (crypto.Signer, error) {
	private, err := mldsa.GenerateKey(params)
	if err != nil {
		return nil, err
	}
	return mldsaKey{private}, nil
}

func (k mldsaKey) Public() crypto.PublicKey { return k.private.Public() }

// Sign signs a message, or a μ if opts are MLDSAMu.
func (k mldsaKey) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.private.SignDeterministic(message, opts)
}

// verifyMLDSA takes a μ at its word by signing it again, for the library verifies
// messages only. The key has made no other signature of it, and nobody else can.
func verifyMLDSA(key crypto.Signer, input, sig []byte, opts crypto.SignerOpts) bool {
	if opts.HashFunc() == mldsacrypto.MLDSAMu {
		again, err := key.Sign(nil, input, opts)
		return err == nil && bytes.Equal(again, sig)
	}
	return mldsa.Verify(key.Public().(*mldsa.PublicKey), input, sig, opts.(*mldsa.Options)) == nil
}
