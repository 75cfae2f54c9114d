package interop

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"testing"

	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
	"github.com/stretchr/testify/require"
)

// schemes are circl's, by the object identifiers of RFC 9881.
var schemes = map[string]sign.Scheme{
	"2.16.840.1.101.3.4.3.17": mldsa44.Scheme(),
	"2.16.840.1.101.3.4.3.18": mldsa65.Scheme(),
	"2.16.840.1.101.3.4.3.19": mldsa87.Scheme(),
}

// circl verifies ML-DSA with an empty context.
func circl(t *testing.T, s signature) error {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}
	rest, err := asn1.Unmarshal(s.publicKey, &info)
	require.NoError(t, err)
	require.Empty(t, rest)
	scheme, known := schemes[info.Algorithm.Algorithm.String()]
	if !known {
		return fmt.Errorf("a key of the algorithm %v", info.Algorithm.Algorithm)
	}
	pub, err := scheme.UnmarshalBinaryPublicKey(info.PublicKey.Bytes)
	require.NoError(t, err)
	if !scheme.Verify(pub, s.message, s.sig, nil) {
		return errors.New("circl does not verify it")
	}
	return nil
}
