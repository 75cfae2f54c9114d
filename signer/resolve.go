package signer

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"strings"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
)

// resolver chooses algorithms for one key.
type resolver struct {
	pub        crypto.PublicKey
	keyID      string // "" where the key does not tell
	keyType    string
	family     *family
	algorithms []Algorithm
}

func newResolver(k Key) resolver {
	pub := k.Public()
	return resolver{pub, keyID(k), keyType(pub), familyOf(pub), algorithms(k)}
}

// resolve returns the algorithm that opts ask the key for, or an [*Error] that
// says why the key has none.
func (r resolver) resolve(opts crypto.SignerOpts) (Algorithm, error) {
	if isNil(opts) {
		return "", r.refuse("", "cannot sign without options: opts are nil; pass "+r.family.opts)
	}
	if err := r.checkFamily(opts); err != nil {
		return "", err
	}
	pss, isPSS := opts.(*rsa.PSSOptions)
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

// checkFamily returns an error for opts that belong to keys of another family,
// or that ask for a variant which no key here has.
func (r resolver) checkFamily(opts crypto.SignerOpts) error {
	another := func(signature string) error {
		return r.refuse("", fmt.Sprintf("cannot make %s signature, as %T ask; pass %s", signature, opts, r.family.opts))
	}
	switch opts := opts.(type) {
	case *rsa.PSSOptions:
		if r.family != rsaFamily {
			return another("an RSA-PSS")
		}
	case *ed25519.Options:
		switch {
		case r.family != ed25519Family:
			return another("an Ed25519")
		case opts.Context != "":
			return r.refuse(ED25519_SHA_512, "cannot sign with a context (Ed25519ctx); leave ed25519.Options.Context empty")
		}
	case *mldsa.Options:
		switch {
		case r.family != mldsaFamily:
			return another("an ML-DSA")
		case opts.Context != "":
			return r.refuse(ML_DSA_SHAKE_256, "cannot sign with a context; leave mldsa.Options.Context empty")
		}
	}
	return nil
}

// explain says why the key does not sign as wanted.
func (r resolver) explain(want scheme) error {
	a, _ := find(r.family.algorithms, want)
	switch {
	case len(r.algorithms) == 0:
		return r.refuse(a, "has no algorithm that is known here; it must sign with one of "+join(r.family.algorithms))
	case r.family == mldsaFamily && want.hash == mldsacrypto.MLDSAMu:
		return r.refuse(a, "signs messages, not their μ (MLDSAMu); pass the message, and crypto.Hash(0)")
	case r.family.prehashed != "":
		return r.refuse(a, fmt.Sprintf("signs messages, not %v digests (%s); pass the message, and crypto.Hash(0)", want.hash, r.family.prehashed))
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
	return &Error{KeyID: r.keyID, KeyType: r.keyType, Algorithm: a, Reason: r.keyType + " key " + reason}
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
