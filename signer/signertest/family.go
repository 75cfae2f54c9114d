package signertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the families below
	_ "crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"

	"filippo.io/mldsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/turretgo/turret/signer"
)

// family is what keys of a type sign with, and how their signatures are verified.
type family struct {
	name     string
	required []ask // has to be signed
	optional []ask // may be refused
	nonsense []ask // has to be refused

	// verify returns an error that says what is wrong with sig as a signature,
	// made with opts, of the digest signed or, where opts name no hash function, of
	// the message. It is not turret's own.
	verify func(opts crypto.SignerOpts, signed, sig []byte) error

	// nonce returns what a signature that verifies shows of its nonce; nil where
	// that is nothing.
	nonce func(sig []byte) []byte
}

// ask is what a signer can be asked for. Its name is that of a signer.Algorithm,
// unless a KMS has no such algorithm.
type ask struct {
	name     string
	opts     crypto.SignerOpts
	variants []ask // by which one asks for it too
}

// familyOf returns the family of a signer's key, or an error that says why the
// signer cannot be checked.
func familyOf(s crypto.Signer) (family, error) {
	if isNil(s) {
		return family{}, errors.New("the function given to Run returned no signer but nil; fail the test where it cannot be made")
	}
	pub := s.Public()
	if isNil(pub) {
		return family{}, errors.New("method Public returned nil; crypto/tls and others look at the key without asking: fetch the public key when the signer is made, and fail then if it cannot be had")
	}
	f := familyOfKey(pub)
	if f.verify == nil {
		return f, fmt.Errorf("method Public returned a %T that is no key of a type known here; it returns an *rsa.PublicKey, an *ecdsa.PublicKey on P-256, P-384 or P-521, a *secp256k1.PublicKey, an *mldsa.PublicKey, or an ed25519.PublicKey, which is no pointer", pub)
	}
	if l, ok := s.(interface{ Algorithms() []signer.Algorithm }); ok {
		return f.restricted(l.Algorithms())
	}
	return f, nil
}

// restricted returns a family that has to sign what is listed, and nothing else.
func (f family) restricted(listed []signer.Algorithm) (family, error) {
	known := slices.Concat(f.required, f.optional)
	f.required, f.optional = nil, nil
	for _, a := range known {
		if slices.Contains(listed, signer.Algorithm(a.name)) {
			f.required = append(f.required, a)
		} else {
			f.optional = append(f.optional, a)
		}
	}
	if f.required == nil {
		return f, fmt.Errorf("method Algorithms lists %v, and an %s key signs with none of them; list constants of package signer, or leave the method out", listed, f.name)
	}
	return f, nil
}

// familyOfKey has a case for each type of public key.
func familyOfKey(pub crypto.PublicKey) family {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if pub.N != nil {
			return rsaFamily(pub)
		}
	case *ecdsa.PublicKey:
		return ecdsaFamily(pub)
	case *secp256k1.PublicKey:
		if pub.IsOnCurve() {
			return secp256k1Family(pub)
		}
	case ed25519.PublicKey:
		if len(pub) == ed25519.PublicKeySize {
			return ed25519Family(pub)
		}
	case *mldsa.PublicKey:
		if *pub != (mldsa.PublicKey{}) {
			return mldsaFamily(pub)
		}
	}
	return family{}
}

// pss is RSA-PSS with a salt as long as the hash. A signer asked for Auto chooses.
func pss(name string, h crypto.Hash) ask {
	salt := func(n int) crypto.SignerOpts { return &rsa.PSSOptions{Hash: h, SaltLength: n} }
	return ask{name, salt(rsa.PSSSaltLengthEqualsHash), []ask{
		{name: name + " with rsa.PSSSaltLengthAuto", opts: salt(rsa.PSSSaltLengthAuto)},
		{name: fmt.Sprintf("%s with a salt of %d bytes", name, h.Size()), opts: salt(h.Size())},
	}}
}

// byHash is what one asks for with a crypto.Hash, or with any other type that
// says the same.
func byHash(name string, h crypto.Hash) ask {
	return ask{name, h, []ask{{name: name + " by a struct with HashFunc", opts: ownOptions{hash: h}}}}
}

// ownOptions are a caller's own crypto.SignerOpts: a value, and not comparable.
type ownOptions struct {
	hash crypto.Hash
	_    []string
}

func (o ownOptions) HashFunc() crypto.Hash { return o.hash }

func rsaFamily(pub *rsa.PublicKey) family {
	return family{
		name: "RSA",
		required: []ask{
			byHash("RSASSA_PKCS1_V1_5_SHA_256", crypto.SHA256),
			byHash("RSASSA_PKCS1_V1_5_SHA_384", crypto.SHA384),
			byHash("RSASSA_PKCS1_V1_5_SHA_512", crypto.SHA512),
			pss("RSASSA_PSS_SHA_256", crypto.SHA256),
			pss("RSASSA_PSS_SHA_384", crypto.SHA384),
			pss("RSASSA_PSS_SHA_512", crypto.SHA512),
		},
		optional: []ask{
			{name: "RSA-PSS with a salt of 7 bytes", opts: &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 7}},
			{name: "RSA-PSS with a salt longer than the key", opts: &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: pub.Size()}},
			{name: "RSA-PSS with a salt of -7 bytes", opts: &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: -7}},
			{name: "RSA-PSS with SHA-1", opts: &rsa.PSSOptions{Hash: crypto.SHA1, SaltLength: rsa.PSSSaltLengthEqualsHash}},
			{name: "PKCS #1 v1.5 with SHA-224", opts: crypto.SHA224},
			{name: "PKCS #1 v1.5 with SHA-1", opts: crypto.SHA1},
			{name: "PKCS #1 v1.5 with MD5+SHA-1", opts: crypto.MD5SHA1},
			{name: "PKCS #1 v1.5 with no hash", opts: crypto.Hash(0)},
		},
		nonsense: []ask{
			{name: "a nil *rsa.PSSOptions", opts: (*rsa.PSSOptions)(nil)},
			{name: "*rsa.PSSOptions without a hash", opts: &rsa.PSSOptions{}},
			{name: "crypto.Hash(99)", opts: crypto.Hash(99)},
		},
		verify: func(opts crypto.SignerOpts, signed, sig []byte) error {
			p, ok := opts.(*rsa.PSSOptions)
			if !ok {
				return rsa.VerifyPKCS1v15(pub, opts.HashFunc(), signed, sig)
			}
			err := rsa.VerifyPSS(pub, p.Hash, signed, sig, p)
			switch {
			case err == nil:
				return nil
			case rsa.VerifyPKCS1v15(pub, p.Hash, signed, sig) == nil:
				return errors.New("it is a PKCS #1 v1.5 signature, and *rsa.PSSOptions ask for RSA-PSS")
			case rsa.VerifyPSS(pub, p.Hash, signed, sig, nil) == nil:
				return errors.New("its salt is not as long as PSSOptions.SaltLength asks for; refuse what cannot be made")
			}
			return err
		},
	}
}

func ecdsaFamily(pub *ecdsa.PublicKey) family {
	curves := map[elliptic.Curve]signer.Algorithm{
		elliptic.P256(): signer.ECDSA_SHA_256,
		elliptic.P384(): signer.ECDSA_SHA_384,
		elliptic.P521(): signer.ECDSA_SHA_512,
	}
	paired, known := curves[pub.Curve]
	if !known {
		return family{}
	}
	return ecdsaLike(paired, 2*((pub.Params().BitSize+7)/8), func(signed, sig []byte) bool {
		return ecdsa.VerifyASN1(pub, signed, sig)
	})
}

// secp256k1Family takes signatures whose s is in either half of its range, as a
// KMS makes them.
func secp256k1Family(pub *secp256k1.PublicKey) family {
	return ecdsaLike(signer.ECDSA_SHA_256, 64, func(signed, sig []byte) bool {
		parsed, err := secp256k1ecdsa.ParseDERSignature(sig)
		return err == nil && parsed.Verify(signed, pub)
	})
}

// ecdsaLike is ECDSA on a curve where a KMS has one algorithm. A size is that of
// r and s.
func ecdsaLike(paired signer.Algorithm, size int, verifies func(signed, sig []byte) bool) family {
	all := family{
		name: "ECDSA",
		optional: []ask{
			byHash("ECDSA_SHA_256", crypto.SHA256),
			byHash("ECDSA_SHA_384", crypto.SHA384),
			byHash("ECDSA_SHA_512", crypto.SHA512),
			{name: "ECDSA with SHA-224", opts: crypto.SHA224},
			{name: "ECDSA with SHA-1", opts: crypto.SHA1},
			{name: "ECDSA with MD5+SHA-1", opts: crypto.MD5SHA1},
		},
		nonsense: []ask{
			{name: "crypto.Hash(0)", opts: crypto.Hash(0)},
			{name: "crypto.Hash(99)", opts: crypto.Hash(99)},
			{name: "*rsa.PSSOptions", opts: &rsa.PSSOptions{Hash: crypto.SHA256}},
		},
		verify: func(_ crypto.SignerOpts, signed, sig []byte) error {
			switch {
			case verifies(signed, sig):
				return nil
			case len(sig) == size:
				return errors.New("it is as long as r and s side by side; Go's callers take them in ASN.1, SEQUENCE { r INTEGER, s INTEGER }")
			}
			return errors.New("it is none of the key's")
		},
		nonce: func(sig []byte) []byte {
			var rs struct{ R, S *big.Int }
			_, _ = asn1.Unmarshal(sig, &rs) // it verifies
			return rs.R.Bytes()
		},
	}
	f, _ := all.restricted([]signer.Algorithm{paired})
	return f
}

func ed25519Family(pub ed25519.PublicKey) family {
	pure := byHash("ED25519_SHA_512", 0)
	pure.variants = append(pure.variants, ask{name: "ED25519_SHA_512 by *ed25519.Options", opts: &ed25519.Options{}})
	return family{
		name:     "Ed25519",
		required: []ask{pure},
		optional: []ask{
			{name: "Ed25519ph", opts: &ed25519.Options{Hash: crypto.SHA512}},
			{name: "Ed25519ph by the hash", opts: crypto.SHA512},
			{name: "Ed25519ctx", opts: &ed25519.Options{Context: "signertest"}},
		},
		nonsense: []ask{
			{name: "a nil *ed25519.Options", opts: (*ed25519.Options)(nil)},
			{name: "crypto.SHA256", opts: crypto.SHA256},
			{name: "crypto.Hash(99)", opts: crypto.Hash(99)},
			{name: "*rsa.PSSOptions", opts: &rsa.PSSOptions{Hash: crypto.SHA256}},
		},
		verify: func(opts crypto.SignerOpts, signed, sig []byte) error {
			o, ok := opts.(*ed25519.Options)
			if !ok {
				o = &ed25519.Options{Hash: opts.HashFunc()}
			}
			return ed25519.VerifyWithOptions(pub, signed, sig, o)
		},
		nonce: func(sig []byte) []byte { return sig[:32] },
	}
}

func mldsaFamily(pub *mldsa.PublicKey) family {
	pure := byHash("ML_DSA_SHAKE_256", 0)
	pure.variants = append(pure.variants, ask{name: "ML_DSA_SHAKE_256 by *mldsa.Options", opts: &mldsa.Options{}})
	return family{
		name:     pub.Parameters().String(),
		required: []ask{pure},
		optional: []ask{{name: "ML-DSA with a context", opts: &mldsa.Options{Context: "signertest"}}},
		nonsense: []ask{
			{name: "a nil *mldsa.Options", opts: (*mldsa.Options)(nil)},
			{name: "crypto.SHA256", opts: crypto.SHA256},
			{name: "crypto.Hash(99)", opts: crypto.Hash(99)},
			{name: "*rsa.PSSOptions", opts: &rsa.PSSOptions{Hash: crypto.SHA256}},
		},
		verify: func(opts crypto.SignerOpts, signed, sig []byte) error {
			o, _ := opts.(*mldsa.Options) // nil is an empty context
			return mldsa.Verify(pub, signed, sig, o)
		},
	}
}

// samePublic has a case for each type of public key that is unlike the standard
// library's.
func samePublic(a, b crypto.PublicKey) bool {
	if a, ok := a.(*secp256k1.PublicKey); ok { // which has no Equal
		b, ok := b.(*secp256k1.PublicKey)
		return ok && b != nil && a.IsEqual(b)
	}
	eq, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && !isNil(b) && eq.Equal(b)
}

// isNil reports whether v is nil, or a nil pointer in an interface.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil()
}
