package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms below
	_ "crypto/sha512"
	"fmt"
	"slices"
	"strings"
)

// Algorithm names a signature algorithm, as AWS KMS names it.
type Algorithm string

// The algorithms that a [Signer] resolves a public key and a crypto.SignerOpts
// to. RSA-PSS salts are as long as the hash.
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
	ED25519_SHA_512           Algorithm = "ED25519_SHA_512" // Ed25519 over the message itself
)

// MessageType tells what a Request's Message is.
type MessageType string

const (
	Digest MessageType = "DIGEST" // the message's hash, under the algorithm's hash function
	Raw    MessageType = "RAW"    // the message
)

// scheme is what an algorithm is made of.
type scheme struct {
	hash crypto.Hash // 0 for Ed25519
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
}

// Hash returns the hash function whose digest the algorithm signs: 0 for
// Ed25519, which signs the message itself, and for algorithms unknown here.
func (a Algorithm) Hash() crypto.Hash { return schemes[a].hash }

// SignerOpts returns the options that ask a crypto.Signer for this algorithm.
func (a Algorithm) SignerOpts() crypto.SignerOpts {
	s := schemes[a]
	if s.pss {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
	}
	return s.hash
}

var (
	rsaAlgorithms = []Algorithm{
		RSASSA_PSS_SHA_256, RSASSA_PSS_SHA_384, RSASSA_PSS_SHA_512,
		RSASSA_PKCS1_V1_5_SHA_256, RSASSA_PKCS1_V1_5_SHA_384, RSASSA_PKCS1_V1_5_SHA_512,
	}
	ecdsaAlgorithms   = []Algorithm{ECDSA_SHA_256, ECDSA_SHA_384, ECDSA_SHA_512}
	ed25519Algorithms = []Algorithm{ED25519_SHA_512}
)

// algorithms returns what k signs with, of what is known here.
func algorithms(k Key) []Algorithm {
	if a, ok := k.(lister); ok {
		return slices.DeleteFunc(slices.Clone(a.Algorithms()), func(a Algorithm) bool { return !slices.Contains(family(k.Public()), a) })
	}
	return paired(k.Public())
}

// lister is a key, or a signer to be wrapped, that knows its algorithms.
type lister interface{ Algorithms() []Algorithm }

// paired returns what a KMS pairs with a public key: to each curve its hash.
func paired(pub crypto.PublicKey) []Algorithm {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return rsaAlgorithms
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return ecdsaAlgorithms[0:1]
		case elliptic.P384():
			return ecdsaAlgorithms[1:2]
		case elliptic.P521():
			return ecdsaAlgorithms[2:3]
		}
	case ed25519.PublicKey:
		return ed25519Algorithms
	}
	return nil
}

// keyType names a public key's type, or returns "" for one not supported.
func keyType(pub crypto.PublicKey) string {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if pub != nil && pub.N != nil && pub.N.Sign() > 0 {
			return fmt.Sprintf("RSA %d", pub.N.BitLen())
		}
	case *ecdsa.PublicKey:
		//lint:ignore SA1019 they are only compared with nil, on which Bytes panics
		if pub != nil && pub.X != nil && pub.Y != nil && paired(pub) != nil {
			return "ECDSA " + pub.Curve.Params().Name
		}
	case ed25519.PublicKey:
		if len(pub) == ed25519.PublicKeySize {
			return "Ed25519"
		}
	}
	return ""
}

// resolver chooses algorithms for one key.
type resolver struct {
	pub        crypto.PublicKey
	keyType    string
	algorithms []Algorithm
}

func newResolver(k Key) resolver {
	return resolver{k.Public(), keyType(k.Public()), algorithms(k)}
}

// resolve returns the algorithm that opts ask the key for, or an [*Error] that
// says why the key has none.
func (r resolver) resolve(opts crypto.SignerOpts) (Algorithm, error) {
	pss, isPSS := opts.(*rsa.PSSOptions)
	ed, isEd := opts.(*ed25519.Options)
	switch {
	case opts == nil, isPSS && pss == nil, isEd && ed == nil:
		return "", r.refuse("", "cannot sign without options: opts are nil; pass the crypto.Hash that made the digest, or an *rsa.PSSOptions")
	case isPSS && family(r.pub)[0] != RSASSA_PSS_SHA_256:
		return "", r.refuse("", "cannot make an RSA-PSS signature; pass a crypto.Hash in place of *rsa.PSSOptions")
	case isEd && family(r.pub)[0] != ED25519_SHA_512:
		return "", r.refuse("", "cannot make an Ed25519 signature; pass a crypto.Hash in place of *ed25519.Options")
	case isEd && ed.Context != "":
		return "", r.refuse(ED25519_SHA_512, "cannot sign with a context (Ed25519ctx); leave ed25519.Options.Context empty")
	}
	want := scheme{opts.HashFunc(), isPSS}
	a, found := find(r.algorithms, want)
	if !found {
		return "", r.explain(want)
	}
	if isPSS && !saltFits(pss, want.hash) {
		return "", r.refuse(a, fmt.Sprintf("cannot make an RSA-PSS signature with a salt of %d bytes; the salt is as long as the hash: use rsa.PSSSaltLengthEqualsHash", pss.SaltLength))
	}
	return a, nil
}

// explain says why the key does not sign as wanted.
func (r resolver) explain(want scheme) error {
	a, _ := find(family(r.pub), want)
	switch {
	case family(r.pub)[0] == ED25519_SHA_512:
		return r.refuse(a, fmt.Sprintf("signs messages, not %v digests (Ed25519ph); pass the message, and crypto.Hash(0)", want.hash))
	case want.hash == 0:
		return r.refuse(a, "signs digests, and opts name no hash; pass the crypto.Hash that made the digest")
	}
	return r.refuse(a, fmt.Sprintf("cannot sign a %v digest: it signs with %s only", want.hash, join(r.algorithms)))
}

// request makes the request to sign a digest, or a whole message, or returns an
// [*Error] if the digest is not one of the algorithm's.
func (r resolver) request(a Algorithm, t MessageType, message []byte) (Request, error) {
	if h := a.Hash(); t == Digest && len(message) != h.Size() {
		return Request{}, r.refuse(a, fmt.Sprintf("cannot sign %d bytes as a %v digest; one has %d", len(message), h, h.Size()))
	}
	return Request{a, t, message}, nil
}

func (r resolver) refuse(a Algorithm, reason string) error {
	return &Error{KeyType: r.keyType, Algorithm: a, Reason: r.keyType + " key " + reason}
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

// family returns all algorithms of a public key's type.
func family(pub crypto.PublicKey) []Algorithm {
	switch pub.(type) {
	case *rsa.PublicKey:
		return rsaAlgorithms
	case *ecdsa.PublicKey:
		return ecdsaAlgorithms
	default:
		return ed25519Algorithms
	}
}

func join(as []Algorithm) string {
	names := make([]string, len(as))
	for i, a := range as {
		names[i] = string(a)
	}
	return strings.Join(names, ", ")
}

// saltFits reports whether opts ask for a salt as long as the hash. Auto does:
// it lets the signer choose.
func saltFits(opts *rsa.PSSOptions, hash crypto.Hash) bool {
	switch opts.SaltLength {
	case rsa.PSSSaltLengthAuto, rsa.PSSSaltLengthEqualsHash, hash.Size():
		return true
	}
	return false
}
