package awskms_test

import (
	"context"
	"crypto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// A process may have several keys, and crypto/tls adds nothing to an error.
func TestEveryErrorOfASignerNamesItsKeyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := server(t)
		id := srv.CreateKey(types.KeySpecEccNistP256)
		key, err := signer.NewBuilder(awskms.New(srv.Client(), id)).
			RateLimit(ratelimit.Options{Rate: 0.001, Burst: 2, MaxWait: ratelimit.NoWait}).
			Timeout(100 * time.Millisecond).
			Build(t.Context())
		require.NoError(t, err)
		defer key.Close()
		digest := make([]byte, 32)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		sign := func() error {
			_, err := key.Sign(nil, digest, crypto.SHA256)
			return err
		}

		for _, c := range []struct {
			want  string
			class turret.Class
			sign  func() error
		}{
			{"no answer within 100ms", turret.Transient, func() error {
				srv.Inject(kmstest.Faults{Hang: 1})
				return sign()
			}},
			{"AccessDeniedException", turret.Permanent, func() error {
				srv.Inject(kmstest.Faults{})
				srv.Deny(id)
				return sign()
			}},
			{"ratelimit: over the limit", turret.Rejected, sign},
			{"context canceled", turret.Canceled, func() error {
				_, err := key.WithContext(canceled).Sign(nil, digest, crypto.SHA256)
				return err
			}},
			{"cannot sign 31 bytes", turret.Permanent, func() error {
				_, err := key.Sign(nil, digest[:31], crypto.SHA256)
				return err
			}},
			{signer.ErrClosed.Error(), turret.Permanent, func() error {
				require.NoError(t, key.Close())
				return sign()
			}},
			{signer.ErrClosed.Error(), turret.Permanent, key.Ready},
		} {
			err := c.sign()
			require.ErrorContains(t, err, c.want)
			require.Equal(t, 1, strings.Count(err.Error(), "signer: "+srv.ARN(id)), err)
			require.Equal(t, c.class, turret.Classify(err), err)
		}
	})
}

func TestAnErrorOfASignerInTwoRegionsNamesItsKey(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		key := closing(t, signer.NewBuilder(r.provider()).
			RateLimit(ratelimit.Options{Rate: 0.001, Burst: 1, MaxWait: ratelimit.NoWait}).
			Failover(failover.Options{}))
		_, err := key.Sign(nil, make([]byte, 32), crypto.SHA256)
		require.NoError(t, err)
		_, err = key.Sign(nil, make([]byte, 32), crypto.SHA256)
		require.ErrorContains(t, err, "signer: "+r.home.ARN(r.key)+": nothing was signed: ratelimit: ")
	})
}
