package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"math"
	"slices"

	"filippo.io/mldsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// family is what the keys of one kind have in common.
type family struct {
	algorithms []Algorithm
	opts       string // what a caller passes to have one sign
	prehashed  string // for keys that sign the message itself: what signing its digest is called
}

var (
	rsaFamily = &family{
		algorithms: []Algorithm{
			RSASSA_PSS_SHA_256, RSASSA_PSS_SHA_384, RSASSA_PSS_SHA_512,
			RSASSA_PKCS1_V1_5_SHA_256, RSASSA_PKCS1_V1_5_SHA_384, RSASSA_PKCS1_V1_5_SHA_512,
		},
		opts: "the crypto.Hash that made the digest, or an *rsa.PSSOptions",
	}
	ecdsaFamily = &family{
		algorithms: []Algorithm{ECDSA_SHA_256, ECDSA_SHA_384, ECDSA_SHA_512},
		opts:       "the crypto.Hash that made the digest",
	}
	secp256k1Family = &family{
		algorithms: []Algorithm{ECDSA_SHA_256},
		opts:       "the crypto.Hash that made the digest",
	}
	ed25519Family = &family{
		algorithms: []Algorithm{ED25519_SHA_512},
		opts:       "crypto.Hash(0), and the message itself",
		prehashed:  "Ed25519ph",
	}
	mldsaFamily = &family{
		algorithms: []Algorithm{ML_DSA_SHAKE_256},
		opts:       "crypto.Hash(0), and the message itself",
		prehashed:  "HashML-DSA",
	}
	unknownFamily = &family{} // of keys that are not supported
)

// familyOf returns a public key's family.
func familyOf(pub crypto.PublicKey) *family {
	switch pub.(type) {
	case *rsa.PublicKey:
		return rsaFamily
	case *ecdsa.PublicKey:
		return ecdsaFamily
	case *secp256k1.PublicKey:
		return secp256k1Family
	case ed25519.PublicKey:
		return ed25519Family
	case *mldsa.PublicKey:
		return mldsaFamily
	}
	return unknownFamily
}

// paired returns what a KMS pairs with a public key: to each curve its hash.
func paired(pub crypto.PublicKey) []Algorithm {
	if ec, ok := pub.(*ecdsa.PublicKey); ok {
		switch ec.Curve {
		case elliptic.P256():
			return []Algorithm{ECDSA_SHA_256}
		case elliptic.P384():
			return []Algorithm{ECDSA_SHA_384}
		case elliptic.P521():
			return []Algorithm{ECDSA_SHA_512}
		}
		return nil
	}
	return familyOf(pub).algorithms
}

// algorithms returns what k signs with, of what is known here.
func algorithms(k Key) []Algorithm {
	l, ok := k.(lister)
	if !ok {
		return paired(k.Public())
	}
	known := familyOf(k.Public()).algorithms
	return slices.DeleteFunc(slices.Clone(l.Algorithms()), func(a Algorithm) bool { return !slices.Contains(known, a) })
}

// lister is a key, or a signer to be wrapped, that knows its algorithms.
type lister interface{ Algorithms() []Algorithm }

// keyType names a public key's type, or returns "" for one that is malformed or
// not supported.
func keyType(pub crypto.PublicKey) string {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if pub != nil && verifiesRSA(pub) {
			return fmt.Sprintf("RSA %d", pub.N.BitLen())
		}
	case *ecdsa.PublicKey:
		if pub != nil && paired(pub) != nil && isPoint(pub) {
			return "ECDSA " + pub.Curve.Params().Name
		}
	case *secp256k1.PublicKey:
		if pub != nil && pub.IsOnCurve() { // the point at infinity is not
			return "ECDSA secp256k1"
		}
	case ed25519.PublicKey:
		if len(pub) == ed25519.PublicKeySize {
			return "Ed25519"
		}
	case *mldsa.PublicKey:
		if pub != nil && *pub != (mldsa.PublicKey{}) { // of which Parameters would panic
			return pub.Parameters().String()
		}
	}
	return ""
}

// verifiesRSA reports whether crypto/rsa would verify any signature under pub.
// Here, as there, an exponent fits 32 bits.
func verifiesRSA(pub *rsa.PublicKey) bool {
	return pub.N != nil && pub.N.BitLen() >= 1024 && pub.N.Sign() > 0 && pub.N.Bit(0) == 1 &&
		pub.E > 1 && pub.E <= math.MaxInt32 && pub.E%2 == 1
}

// isPoint reports whether a key is a point of its curve.
func isPoint(pub *ecdsa.PublicKey) bool {
	//lint:ignore SA1019 they are only compared with nil, on which Bytes panics
	if pub.X == nil || pub.Y == nil {
		return false
	}
	_, err := pub.Bytes()
	return err == nil
}
