package signer_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
)

// FuzzSignLikeGo holds a wrapped key in memory against the same key without the
// wrapping: of what a KMS can do, Sign and SignMessage take exactly what Go's key
// takes, and what they make of it verifies; all else is a *signer.Error.
func FuzzSignLikeGo(f *testing.F) {
	names := []string{"RSA 2048", "ECDSA P-256", "ECDSA P-384", "ECDSA P-521", "Ed25519", "ML-DSA-44"}
	const hash, pssOpts, edOpts, mldsaOpts = 0, 1, 2, 3
	for i := range names {
		for _, h := range []crypto.Hash{0, crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512, mldsacrypto.MLDSAMu} {
			size := 7
			if h.Available() {
				size = h.Size()
			}
			for _, kind := range []uint8{hash, pssOpts, edOpts, mldsaOpts} {
				f.Add(uint8(i), kind, uint8(h), rsa.PSSSaltLengthEqualsHash, "", false, make([]byte, size))
				f.Add(uint8(i), kind, uint8(h), 32, "", false, make([]byte, size))
				f.Add(uint8(i), kind, uint8(h), 20, "", true, []byte{})
				f.Add(uint8(i), kind, uint8(h), rsa.PSSSaltLengthAuto, "context", true, []byte("message"))
			}
		}
	}
	f.Fuzz(func(t *testing.T, key, kind, h uint8, salt int, context string, whole bool, message []byte) {
		private := keys()[names[int(key)%len(names)]]
		s := build(t, signer.NewBuilder(signer.Wrap(private, signer.WrapOptions{})))
		defer func() { require.NoError(t, s.Close()) }()

		var opts crypto.SignerOpts = crypto.Hash(h)
		switch kind % 4 {
		case pssOpts:
			opts = pss(crypto.Hash(h), salt)
		case edOpts:
			opts = &ed25519.Options{Hash: crypto.Hash(h), Context: context}
		case mldsaOpts:
			opts = &mldsa.Options{Context: context}
		}
		sign, theirs := s.Sign, private.Sign
		if whole {
			sign = s.SignMessage
			theirs = func(_ io.Reader, m []byte, o crypto.SignerOpts) ([]byte, error) {
				return crypto.SignMessage(private, rand.Reader, m, o)
			}
		}
		wanted := ofAKMS(private.Public(), opts)
		if h := opts.HashFunc(); wanted && h != 0 && !whole { // Go's ECDSA takes a digest of any length
			wanted = len(message) == h.Size()
		}
		if wanted {
			_, err := caught(func() ([]byte, error) { return theirs(rand.Reader, message, opts) })
			wanted = err == nil
		}
		sig, err := sign(nil, message, opts)
		if !wanted {
			var e *signer.Error
			require.ErrorAs(t, err, &e)
			require.Nil(t, sig)
			return
		}
		require.NoError(t, err)
		signed := message
		if whole && opts.HashFunc() != 0 {
			signed = digest(opts.HashFunc(), string(message))
		}
		require.NoError(t, verifyDigest(s.Public(), signed, sig, opts))
	})
}

// ofAKMS reports whether a KMS has signatures such as opts ask of the key.
func ofAKMS(pub crypto.PublicKey, opts crypto.SignerOpts) bool {
	h := opts.HashFunc()
	sha2 := h == crypto.SHA256 || h == crypto.SHA384 || h == crypto.SHA512
	switch pub.(type) {
	case *rsa.PublicKey:
		switch o := opts.(type) {
		case crypto.Hash:
			return sha2
		case *rsa.PSSOptions:
			return sha2 && (o.SaltLength == rsa.PSSSaltLengthAuto || o.SaltLength == rsa.PSSSaltLengthEqualsHash || o.SaltLength == h.Size())
		}
	case *ecdsa.PublicKey:
		_, plain := opts.(crypto.Hash)
		return plain && sha2
	case ed25519.PublicKey:
		o, ok := opts.(*ed25519.Options)
		_, plain := opts.(crypto.Hash)
		return h == 0 && (plain || ok && o.Context == "")
	case *mldsa.PublicKey:
		o, ok := opts.(*mldsa.Options)
		_, plain := opts.(crypto.Hash)
		return h == 0 && (plain || ok && o.Context == "")
	}
	return false
}

// caught makes an error of a panic: Go's keys panic for a hash that is none.
func caught(sign func() ([]byte, error)) (sig []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.Join(err, fmt.Errorf("panic: %v", r))
		}
	}()
	return sign()
}
