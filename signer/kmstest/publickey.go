package kmstest

import (
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"

	"filippo.io/mldsa/x509"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// marshalPublicKey makes the DER of a SubjectPublicKeyInfo, also of the types
// that crypto/x509 does not know.
func marshalPublicKey(pub crypto.PublicKey) ([]byte, error) {
	if pub, ok := pub.(*secp256k1.PublicKey); ok {
		return marshalSecp256k1(pub)
	}
	return x509.MarshalPKIXPublicKey(pub) // and ML-DSA
}

var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidSecp256k1   = asn1.ObjectIdentifier{1, 3, 132, 0, 10}
)

// marshalSecp256k1 follows RFC 5480, with the point uncompressed, as AWS has it.
func marshalSecp256k1(pub *secp256k1.PublicKey) ([]byte, error) {
	curve, err := asn1.Marshal(oidSecp256k1)
	if err != nil {
		return nil, err
	}
	point := pub.SerializeUncompressed()
	return asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}{
		pkix.AlgorithmIdentifier{Algorithm: oidECPublicKey, Parameters: asn1.RawValue{FullBytes: curve}},
		asn1.BitString{Bytes: point, BitLength: 8 * len(point)},
	})
}
