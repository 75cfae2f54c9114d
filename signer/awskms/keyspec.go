package awskms

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"

	"filippo.io/mldsa"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/turretgo/turret/signer"
)

// keySpec is a kind of key that can be used here.
type keySpec struct {
	name       types.KeySpec
	algorithms []signer.Algorithm
}

var rsaAlgorithms = []signer.Algorithm{
	signer.RSASSA_PSS_SHA_256, signer.RSASSA_PSS_SHA_384, signer.RSASSA_PSS_SHA_512,
	signer.RSASSA_PKCS1_V1_5_SHA_256, signer.RSASSA_PKCS1_V1_5_SHA_384, signer.RSASSA_PKCS1_V1_5_SHA_512,
}

// keySpecs lack SM2. Ed25519 keys lack ED25519_PH_SHA_512, which hashes its digest
// once more: no verifier takes that.
var keySpecs = []keySpec{
	{types.KeySpecRsa2048, rsaAlgorithms},
	{types.KeySpecRsa3072, rsaAlgorithms},
	{types.KeySpecRsa4096, rsaAlgorithms},
	{types.KeySpecEccNistP256, []signer.Algorithm{signer.ECDSA_SHA_256}},
	{types.KeySpecEccNistP384, []signer.Algorithm{signer.ECDSA_SHA_384}},
	{types.KeySpecEccNistP521, []signer.Algorithm{signer.ECDSA_SHA_512}},
	{types.KeySpecEccSecgP256k1, []signer.Algorithm{signer.ECDSA_SHA_256}},
	{types.KeySpecEccNistEdwards25519, []signer.Algorithm{signer.ED25519_SHA_512}},
	{types.KeySpecMlDsa44, []signer.Algorithm{signer.ML_DSA_SHAKE_256}},
	{types.KeySpecMlDsa65, []signer.Algorithm{signer.ML_DSA_SHAKE_256}},
	{types.KeySpecMlDsa87, []signer.Algorithm{signer.ML_DSA_SHAKE_256}},
}

// findSpec returns what is known here of a key spec, or an error that says which
// are known.
func findSpec(name types.KeySpec) (keySpec, error) {
	var names []types.KeySpec
	for _, s := range keySpecs {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return keySpec{}, fmt.Errorf("the key's spec is %s; those supported are %s", cmp.Or(name, "not said"), list(names))
}

// check returns an error unless pub is a key of this spec.
func (s keySpec) check(pub crypto.PublicKey) error {
	if found := specOf(pub); found != s.name {
		return fmt.Errorf("KMS says that the key's spec is %s, and the public key that it gave is of another: %s",
			s.name, cmp.Or(found, "none that is supported"))
	}
	return nil
}

// specOf is the spec that a public key is of, or "" if it is none of keySpecs.
func specOf(pub crypto.PublicKey) types.KeySpec {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		switch pub.N.BitLen() {
		case 2048:
			return types.KeySpecRsa2048
		case 3072:
			return types.KeySpecRsa3072
		case 4096:
			return types.KeySpecRsa4096
		}
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return types.KeySpecEccNistP256
		case elliptic.P384():
			return types.KeySpecEccNistP384
		case elliptic.P521():
			return types.KeySpecEccNistP521
		}
	case *secp256k1.PublicKey:
		return types.KeySpecEccSecgP256k1
	case ed25519.PublicKey:
		return types.KeySpecEccNistEdwards25519
	case *mldsa.PublicKey:
		switch pub.Parameters() {
		case mldsa.MLDSA44():
			return types.KeySpecMlDsa44
		case mldsa.MLDSA65():
			return types.KeySpecMlDsa65
		case mldsa.MLDSA87():
			return types.KeySpecMlDsa87
		}
	}
	return ""
}

// choose returns which of the algorithms that KMS says the key has can be used
// here, each once and in KMS's order, or an error that tells what KMS said if none can.
func (s keySpec) choose(said []types.SigningAlgorithmSpec) ([]signer.Algorithm, error) {
	var usable []signer.Algorithm
	for _, name := range said {
		if a := signer.Algorithm(name); slices.Contains(s.algorithms, a) && !slices.Contains(usable, a) {
			usable = append(usable, a)
		}
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("KMS says that the key signs with %s, which is of no use here; keys of spec %s are used with %s",
			list(said), s.name, list(s.algorithms))
	}
	return usable, nil
}

func list[S ~string](names []S) string {
	if len(names) == 0 {
		return "nothing"
	}
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	return strings.Join(texts, ", ")
}
