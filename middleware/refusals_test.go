package middleware_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// A refusal is waited out through whatever stands between it and the retry: here
// two replicas that are down for three seconds, behind a failover and a hedge.
// One refuses with the time of its breaker, the other's bulkhead knows none.
func TestRetryWaitsOutRefusalsThroughAFailoverAndAHedge(t *testing.T) {
	for _, hedged := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var down = time.Now().Add(3 * time.Second)
			backend := turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) {
				if time.Now().Before(down) {
					return 0, errors.New("down")
				}
				return n, nil
			})
			open := breaker.Layer[int, int](gobreaker.Settings{Timeout: 500 * time.Millisecond})
			bulkhead := concurrency.Layer[int, int](concurrency.Options{Max: 1, MaxQueue: concurrency.NoQueue})
			var between layer
			if hedged {
				between = hedge.Layer[int, int](hedge.Options{Delay: 50 * time.Millisecond, MaxHedges: 3, Budget: hedge.NewBudget(3)})
			}
			s := turret.Stack(
				timeout.Layer[int, int](10*time.Second),
				retry.Layer[int, int](retry.Options{MaxAttempts: 100, WaitRejected: true}),
				between,
			)(failover.New(failover.Options{}, open(backend), turret.Stack(bulkhead, open)(backend)))
			results := make(chan error)
			for range 20 {
				go func() { _, err := s.Call(t.Context(), 1); results <- err }()
			}
			for range 20 {
				require.NoError(t, <-results)
			}
		})
	}
}
