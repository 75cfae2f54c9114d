package signer

import (
	"crypto"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms below
	_ "crypto/sha512"
)

// Algorithm names a signature algorithm, as AWS KMS names it.
type Algorithm string

// The algorithms that a [Signer] resolves a public key and a crypto.SignerOpts
// to. RSA-PSS salts are as long as the hash. An ECDSA signature's s may be in
// either half of its range, on secp256k1 as on the curves of NIST: who needs the
// lower one, as some blockchains do, takes the curve's order less s.
const (
	RSASSA_PSS_SHA_256        Algorithm = "RSASSA_PSS_SHA_256"
	RSASSA_PSS_SHA_384        Algorithm = "RSASSA_PSS_SHA_384"
	RSASSA_PSS_SHA_512        Algorithm = "RSASSA_PSS_SHA_512"
	RSASSA_PKCS1_V1_5_SHA_256 Algorithm = "RSASSA_PKCS1_V1_5_SHA_256"
	RSASSA_PKCS1_V1_5_SHA_384 Algorithm = "RSASSA_PKCS1_V1_5_SHA_384"
	RSASSA_PKCS1_V1_5_SHA_512 Algorithm = "RSASSA_PKCS1_V1_5_SHA_512"
	ECDSA_SHA_256             Algorithm = "ECDSA_SHA_256"
	ECDSA_SHA_384             Algorithm = "ECDSA_SHA_384"
	ECDSA_SHA_512             Algorithm = "ECDSA_SHA_512"
	ED25519_SHA_512           Algorithm = "ED25519_SHA_512"  // Ed25519 over the message itself
	ML_DSA_SHAKE_256          Algorithm = "ML_DSA_SHAKE_256" // ML-DSA over the message itself, with an empty context
)

// MessageType tells what a Request's Message is.
type MessageType string

const (
	Digest MessageType = "DIGEST" // the message's hash, under the algorithm's hash function
	Raw    MessageType = "RAW"    // the message
)

// scheme is what an algorithm is made of.
type scheme struct {
	hash crypto.Hash // 0 for Ed25519 and ML-DSA
	pss  bool
}

var schemes = map[Algorithm]scheme{
	RSASSA_PSS_SHA_256:        {crypto.SHA256, true},
	RSASSA_PSS_SHA_384:        {crypto.SHA384, true},
	RSASSA_PSS_SHA_512:        {crypto.SHA512, true},
	RSASSA_PKCS1_V1_5_SHA_256: {crypto.SHA256, false},
	RSASSA_PKCS1_V1_5_SHA_384: {crypto.SHA384, false},
	RSASSA_PKCS1_V1_5_SHA_512: {crypto.SHA512, false},
	ECDSA_SHA_256:             {crypto.SHA256, false},
	ECDSA_SHA_384:             {crypto.SHA384, false},
	ECDSA_SHA_512:             {crypto.SHA512, false},
	ED25519_SHA_512:           {},
	ML_DSA_SHAKE_256:          {},
}

// Hash returns the hash function whose digest the algorithm signs: 0 for
// Ed25519 and ML-DSA, which sign the message itself, and for algorithms unknown
// here.
func (a Algorithm) Hash() crypto.Hash { return schemes[a].hash }

// SignerOpts returns the options that ask a crypto.Signer for this algorithm.
func (a Algorithm) SignerOpts() crypto.SignerOpts {
	s := schemes[a]
	if s.pss {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
	}
	return s.hash
}

// find returns which of as is made so.
func find(as []Algorithm, s scheme) (Algorithm, bool) {
	for _, a := range as {
		if has, known := schemes[a]; known && has == s {
			return a, true
		}
	}
	return "", false
}
