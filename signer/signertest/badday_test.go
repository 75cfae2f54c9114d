package signertest

import (
	"crypto"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// A stack is as good as its key while the KMS has a bad day. In a bubble, where
// Run's subtests cannot be, a hang costs nothing.
func TestKeysInAFailingKMSConform(t *testing.T) {
	for _, spec := range []types.KeySpec{types.KeySpecRsa2048, types.KeySpecEccNistP256, types.KeySpecEccNistEdwards25519, types.KeySpecMlDsa65} {
		t.Run(string(spec), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := kmstest.NewServer()
				defer srv.Close()
				s, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(spec))).Defaults(signer.Defaults{}).Build(t.Context())
				require.NoError(t, err)
				srv.Inject(kmstest.Faults{Seed: 1, Throttle: 0.05, Internal: 0.02, Reset: 0.01, Corrupt: 0.01, Hang: 0.01})
				require.Empty(t, findings(func() crypto.Signer { return s }, 0, ""))
				stats := srv.Stats().Op("Sign")
				require.Positive(t, stats.Throttled, "the day was a good one")
				require.Positive(t, stats.Hung, "the day was a good one")
				require.NoError(t, s.Close())
			})
		})
	}
}
