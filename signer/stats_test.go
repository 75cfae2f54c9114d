package signer_test

import (
	"crypto"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/stats"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// Every Signer keeps account of what its callers see, and of what each key says.
func TestASignerKeepsAccountOfItsCallsAndOfEachKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home := kmstest.NewServer()
		defer home.Close()
		id := home.CreateKey(types.KeySpecEccNistP256)
		other := home.Replica("eu-west-1")
		key, err := signer.NewBuilder(awskms.MultiRegion(id, home.Client(), other.Client())).Defaults(signer.Defaults{}).Build(t.Context())
		require.NoError(t, err)
		defer key.Close()

		digest := make([]byte, 32)
		sign := func() {
			_, err := key.WithContext(t.Context()).Sign(nil, digest, crypto.SHA256)
			require.NoError(t, err)
		}
		sign()
		home.Inject(kmstest.Faults{Throttle: 1})
		sign()
		_, err = key.Sign(nil, digest[1:], crypto.SHA256)
		require.Error(t, err)

		calls := key.Stats()
		require.EqualValues(t, 2, calls.Total.OK)
		require.EqualValues(t, 2, calls.Total.Calls(), "what the box refuses is no call")

		var keys []stats.Snapshot
		var find func(n turret.Node)
		find = func(n turret.Node) {
			if s, ok := stats.Of(n.Service); ok {
				keys = append(keys, s)
			}
			for _, below := range n.Below {
				find(below)
			}
		}
		find(turret.Inspect(key))
		require.Len(t, keys, 3, "the signer, and a key in each Region")
		require.Equal(t, calls.Total, keys[0].Total)
		require.Equal(t, stats.Counts{OK: 1, Throttled: 1}, keys[1].Total)
		require.Equal(t, stats.Counts{OK: 1}, keys[2].Total)
		require.Len(t, keys[1].Errors, 1)
		require.ErrorContains(t, keys[1].Errors[0].Err, "ThrottlingException")
		require.WithinDuration(t, time.Now(), keys[1].Errors[0].At, time.Minute)
	})
}
