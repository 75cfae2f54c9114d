package awskms

import (
	"bytes"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"github.com/stretchr/testify/require"
)

// A signature over the μ that is computed here is one over the message, as the
// library sees it, which computes its own.
func TestExternalMuIsWhatMLDSASigns(t *testing.T) {
	for _, params := range []mldsa.Parameters{mldsa.MLDSA44(), mldsa.MLDSA65(), mldsa.MLDSA87()} {
		private, err := mldsa.GenerateKey(params)
		require.NoError(t, err)
		for _, n := range []int{0, 1, 135, 136, 137, 4096, 4097, 100_000} { // 136 is SHAKE256's block
			message := bytes.Repeat([]byte("m"), n)
			mu := externalMu(private.PublicKey(), message)
			require.Len(t, mu, 64)
			overMu, err := private.SignDeterministic(mu, mldsacrypto.MLDSAMu)
			require.NoError(t, err)
			require.NoError(t, mldsa.Verify(private.PublicKey(), message, overMu, nil))
			overMessage, err := private.SignDeterministic(message, nil)
			require.NoError(t, err)
			require.Equal(t, overMessage, overMu)
		}
	}
}
