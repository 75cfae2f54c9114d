package kmstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"

	"filippo.io/mldsa"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// A keySpec is what a kind of key is and can do.
type keySpec struct {
	generate     func() (crypto.Signer, error) // nil: a symmetric key, which has no work here
	pool         pool
	signing      []types.SigningAlgorithmSpec // for keys of usage SIGN_VERIFY
	encryption   []types.EncryptionAlgorithmSpec
	keyAgreement []types.KeyAgreementAlgorithmSpec
}

// usages are what a key of this spec may be made for.
func (s keySpec) usages() []types.KeyUsageType {
	var usages []types.KeyUsageType
	if len(s.signing) > 0 {
		usages = append(usages, types.KeyUsageTypeSignVerify)
	}
	if len(s.encryption) > 0 {
		usages = append(usages, types.KeyUsageTypeEncryptDecrypt)
	}
	if len(s.keyAgreement) > 0 {
		usages = append(usages, types.KeyUsageTypeKeyAgreement)
	}
	return usages
}

// keySpecs are the kinds of keys this server can make. A new one is a line here
// and its algorithms in the table of algorithms.
var keySpecs = map[types.KeySpec]keySpec{
	types.KeySpecRsa2048:     rsaSpec(2048),
	types.KeySpecRsa3072:     rsaSpec(3072),
	types.KeySpecRsa4096:     rsaSpec(4096),
	types.KeySpecEccNistP256: nistSpec(elliptic.P256(), types.SigningAlgorithmSpecEcdsaSha256),
	types.KeySpecEccNistP384: nistSpec(elliptic.P384(), types.SigningAlgorithmSpecEcdsaSha384),
	types.KeySpecEccNistP521: nistSpec(elliptic.P521(), types.SigningAlgorithmSpecEcdsaSha512),
	types.KeySpecEccSecgP256k1: {
		generate: func() (crypto.Signer, error) { return newSecp256k1Key() },
		pool:     poolECC,
		signing:  []types.SigningAlgorithmSpec{types.SigningAlgorithmSpecEcdsaSha256},
	},
	types.KeySpecEccNistEdwards25519: {
		generate: func() (crypto.Signer, error) {
			_, private, err := ed25519.GenerateKey(rand.Reader)
			return private, err
		},
		pool: poolECC,
		signing: []types.SigningAlgorithmSpec{
			types.SigningAlgorithmSpecEd25519Sha512,
			types.SigningAlgorithmSpecEd25519PhSha512,
		},
	},
	types.KeySpecMlDsa44: mldsaSpec(mldsa.MLDSA44()),
	types.KeySpecMlDsa65: mldsaSpec(mldsa.MLDSA65()),
	types.KeySpecMlDsa87: mldsaSpec(mldsa.MLDSA87()),
	types.KeySpecSymmetricDefault: {
		encryption: []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecSymmetricDefault},
	},
}

func rsaSpec(bits int) keySpec {
	return keySpec{
		generate: func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, bits) },
		pool:     poolRSA,
		signing: []types.SigningAlgorithmSpec{
			types.SigningAlgorithmSpecRsassaPkcs1V15Sha256,
			types.SigningAlgorithmSpecRsassaPkcs1V15Sha384,
			types.SigningAlgorithmSpecRsassaPkcs1V15Sha512,
			types.SigningAlgorithmSpecRsassaPssSha256,
			types.SigningAlgorithmSpecRsassaPssSha384,
			types.SigningAlgorithmSpecRsassaPssSha512,
		},
		encryption: []types.EncryptionAlgorithmSpec{
			types.EncryptionAlgorithmSpecRsaesOaepSha1,
			types.EncryptionAlgorithmSpecRsaesOaepSha256,
		},
	}
}

func nistSpec(curve elliptic.Curve, only types.SigningAlgorithmSpec) keySpec {
	return keySpec{
		generate:     func() (crypto.Signer, error) { return ecdsa.GenerateKey(curve, rand.Reader) },
		pool:         poolECC,
		signing:      []types.SigningAlgorithmSpec{only},
		keyAgreement: []types.KeyAgreementAlgorithmSpec{types.KeyAgreementAlgorithmSpecEcdh},
	}
}

func mldsaSpec(params mldsa.Parameters) keySpec {
	return keySpec{
		generate: func() (crypto.Signer, error) { return newMLDSAKey(params) },
		pool:     poolMLDSA,
		signing:  []types.SigningAlgorithmSpec{types.SigningAlgorithmSpecMlDsaShake256},
	}
}

// An algorithm is a way of signing, the same for all keys that can do it.
type algorithm struct {
	opts   crypto.SignerOpts // for the key's Sign
	verify func(key crypto.Signer, input, sig []byte, opts crypto.SignerOpts) bool

	// hash is what a RAW message goes through and what a DIGEST is the output of;
	// 0 if the algorithm signs messages as they are.
	hash   crypto.Hash
	raw    bool // takes RAW
	digest bool // takes DIGEST
	rehash bool // hashes a DIGEST once more
	mu     bool // takes EXTERNAL_MU
}

var algorithms = map[types.SigningAlgorithmSpec]algorithm{
	types.SigningAlgorithmSpecRsassaPkcs1V15Sha256: pkcs1(crypto.SHA256),
	types.SigningAlgorithmSpecRsassaPkcs1V15Sha384: pkcs1(crypto.SHA384),
	types.SigningAlgorithmSpecRsassaPkcs1V15Sha512: pkcs1(crypto.SHA512),
	types.SigningAlgorithmSpecRsassaPssSha256:      pss(crypto.SHA256),
	types.SigningAlgorithmSpecRsassaPssSha384:      pss(crypto.SHA384),
	types.SigningAlgorithmSpecRsassaPssSha512:      pss(crypto.SHA512),
	types.SigningAlgorithmSpecEcdsaSha256:          ecdsaWith(crypto.SHA256),
	types.SigningAlgorithmSpecEcdsaSha384:          ecdsaWith(crypto.SHA384),
	types.SigningAlgorithmSpecEcdsaSha512:          ecdsaWith(crypto.SHA512),
	types.SigningAlgorithmSpecEd25519Sha512: {
		opts:   &ed25519.Options{},
		verify: verifyEd25519,
		raw:    true,
	},
	types.SigningAlgorithmSpecEd25519PhSha512: {
		opts:   &ed25519.Options{Hash: crypto.SHA512},
		verify: verifyEd25519,
		hash:   crypto.SHA512,
		digest: true,
		rehash: true,
	},
	types.SigningAlgorithmSpecMlDsaShake256: {
		opts:   &mldsa.Options{},
		verify: verifyMLDSA,
		raw:    true,
		mu:     true,
	},
}

func pkcs1(h crypto.Hash) algorithm {
	return algorithm{opts: h, verify: verifyPKCS1, hash: h, raw: true, digest: true}
}

func pss(h crypto.Hash) algorithm {
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
	return algorithm{opts: opts, verify: verifyPSS, hash: h, raw: true, digest: true}
}

func ecdsaWith(h crypto.Hash) algorithm {
	return algorithm{opts: h, verify: verifyECDSA, hash: h, raw: true, digest: true}
}

func verifyPKCS1(key crypto.Signer, digest, sig []byte, opts crypto.SignerOpts) bool {
	return rsa.VerifyPKCS1v15(key.Public().(*rsa.PublicKey), opts.HashFunc(), digest, sig) == nil
}

func verifyPSS(key crypto.Signer, digest, sig []byte, opts crypto.SignerOpts) bool {
	return rsa.VerifyPSS(key.Public().(*rsa.PublicKey), opts.HashFunc(), digest, sig, opts.(*rsa.PSSOptions)) == nil
}

func verifyECDSA(key crypto.Signer, digest, sig []byte, _ crypto.SignerOpts) bool {
	if pub, ok := key.Public().(*secp256k1.PublicKey); ok {
		return verifySecp256k1(pub, digest, sig)
	}
	return ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest, sig)
}

func verifyEd25519(key crypto.Signer, input, sig []byte, opts crypto.SignerOpts) bool {
	return ed25519.VerifyWithOptions(key.Public().(ed25519.PublicKey), input, sig, opts.(*ed25519.Options)) == nil
}

// sum is what the hash makes of data.
func sum(h crypto.Hash, data []byte) []byte {
	hasher := h.New()
	hasher.Write(data)
	return hasher.Sum(nil)
}
