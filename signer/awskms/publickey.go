package awskms

import (
	"bytes"
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"

	"filippo.io/mldsa/x509"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// subjectPublicKeyInfo is a public key as KMS gives it; see RFC 5280, 4.1.2.7.
type subjectPublicKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	PublicKey asn1.BitString
}

var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidSecp256k1   = asn1.ObjectIdentifier{1, 3, 132, 0, 10}
)

// parsePublicKey parses the DER of a SubjectPublicKeyInfo, also of the types that
// crypto/x509 does not know.
func parsePublicKey(der []byte) (crypto.PublicKey, error) {
	var info subjectPublicKeyInfo
	if _, err := asn1.Unmarshal(der, &info); err == nil && isSecp256k1(info.Algorithm) {
		return parseSecp256k1(der, info)
	}
	return x509.ParsePKIXPublicKey(der) // and ML-DSA
}

// isSecp256k1 reports whether keys of this algorithm are points of that curve.
func isSecp256k1(a pkix.AlgorithmIdentifier) bool {
	var curve asn1.ObjectIdentifier
	_, err := asn1.Unmarshal(a.Parameters.FullBytes, &curve)
	return err == nil && a.Algorithm.Equal(oidECPublicKey) && curve.Equal(oidSecp256k1)
}

// parseSecp256k1 takes a point on the curve, compressed or not, and nothing that
// is not exactly that: no other encoding, no byte too many.
func parseSecp256k1(der []byte, info subjectPublicKeyInfo) (crypto.PublicKey, error) {
	if canonical, err := asn1.Marshal(info); err != nil || !bytes.Equal(canonical, der) {
		return nil, errors.New("the secp256k1 key is not encoded in DER")
	}
	point := info.PublicKey.Bytes
	if info.PublicKey.BitLength != 8*len(point) || !isPointFormat(point) {
		return nil, errors.New("the secp256k1 key is no point, compressed or uncompressed")
	}
	pub, err := secp256k1.ParsePubKey(point)
	if err != nil {
		return nil, err
	}
	return pub, nil
}

// isPointFormat excludes the hybrid format, which the library would take and
// RFC 5480 forbids.
func isPointFormat(point []byte) bool {
	if len(point) == 0 {
		return false
	}
	switch point[0] {
	case secp256k1.PubKeyFormatCompressedEven, secp256k1.PubKeyFormatCompressedOdd, secp256k1.PubKeyFormatUncompressed:
		return true
	}
	return false
}
