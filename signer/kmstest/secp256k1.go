package kmstest

import (
	"crypto"
	"encoding/asn1"
	"io"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// A secp256k1Key is a private key on the curve that Go's crypto/ecdsa lacks.
type secp256k1Key struct{ private *secp256k1.PrivateKey }

func newSecp256k1Key() (crypto.Signer, error) {
	private, err := secp256k1.GeneratePrivateKey()
	if err != nil {
		return nil, err
	}
	return secp256k1Key{private}, nil
}

func (k secp256k1Key) Public() crypto.PublicKey { return k.private.PubKey() }

// Sign signs a digest. As in AWS, s is in the upper half of its range as often
// as in the lower one, although the library always makes it low.
func (k secp256k1Key) Sign(rand io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	var coin [1]byte
	if _, err := io.ReadFull(rand, coin[:]); err != nil {
		return nil, err
	}
	sig := ecdsa.Sign(k.private, digest)
	r, s := sig.R(), sig.S()
	if coin[0]&1 == 1 {
		s.Negate()
	}
	return asn1.Marshal(struct{ R, S *big.Int }{integer(r), integer(s)})
}

func integer(n secp256k1.ModNScalar) *big.Int {
	b := n.Bytes()
	return new(big.Int).SetBytes(b[:])
}

func verifySecp256k1(pub *secp256k1.PublicKey, digest, sig []byte) bool {
	parsed, err := ecdsa.ParseDERSignature(sig)
	return err == nil && parsed.Verify(digest, pub)
}
