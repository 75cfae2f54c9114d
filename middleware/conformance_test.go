package middleware_test

import (
	"context"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/layertest"
	"github.com/turretgo/turret/middleware/adaptive"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/buffer"
	"github.com/turretgo/turret/middleware/chaos"
	"github.com/turretgo/turret/middleware/coalesce"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/fallback"
	"github.com/turretgo/turret/middleware/filter"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/loadshed"
	"github.com/turretgo/turret/middleware/logging"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/reconnect"
	"github.com/turretgo/turret/middleware/recovery"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/steer"
	"github.com/turretgo/turret/middleware/throttle"
	"github.com/turretgo/turret/middleware/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	service = turret.Service[int, int]
	layer   = turret.Layer[int, int]
	may     = []layertest.Deviation
)

// A layer per line, set up to let the run through, and what it does otherwise on
// purpose.
func TestEveryLayerConforms(t *testing.T) {
	for _, tc := range []struct {
		name  string
		layer layer
		may   may
	}{
		{"breaker", breaker.Layer[int, int](gobreaker.Settings{}), nil},
		{"impatient breaker", func(s service) service {
			return breaker.Share[int, int](breaker.NewImpatient(gobreaker.Settings{}, time.Second))(s)
		}, nil},
		{"failover", func(s service) service { return failover.New(failover.Options{}, s, s) }, may{layertest.MayRepeat}},
		{"ratelimit", ratelimit.Layer[int, int](ratelimit.Options{Rate: 100}), nil},
		{"retry", retry.Layer[int, int](retry.Options{}), may{layertest.MayRepeat}},
		{"timeout", timeout.Layer[int, int](time.Minute), nil},
		{"timeout that learns", timeout.LearningLayer[int, int](timeout.Learning{Min: time.Minute, Max: time.Hour}), nil},
		{"adaptive", adaptive.Layer[int, int](adaptive.Options{}), nil},
		{"failover with probes", func(s service) service { return failover.New(failover.Options{Failures: 1}, s, s) }, may{layertest.MayRepeat, layertest.MayDetach}},
		{"balance", func(s service) service { return balance.New(balance.Options{}, s, s) }, nil},
		{"balance with probes beside", func(s service) service { return balance.New(balance.Options{Beside: true, Failures: 1}, s, s) }, may{layertest.MayRepeat, layertest.MayDetach}},
		{"steer", func(s service) service { return steer.New(odd, map[string]service{"odd": s, "even": s}) }, nil},
		{"buffer", buffer.Layer[int, int](buffer.Options{}), may{layertest.MayEndOnPanic}},
		{"chaos", chaos.Layer[int, int](chaos.Options{}), nil},
		{"concurrency", concurrency.Layer[int, int](concurrency.Options{Max: 10}), nil},
		{"fallback", fallback.Layer[int, int](fallback.Options[int, int]{Service: fallback.Value[int, int](7)}), may{layertest.MayReplaceErrors}},
		{"filter", filter.Layer[int, int](pass), nil},
		{"hedge", hedge.Layer[int, int](hedge.Options{Delay: time.Millisecond}), may{layertest.MayRepeat}},
		{"loadshed", loadshed.Layer[int, int](loadshed.Options{}), nil},
		{"logging", logging.Layer[int, int](logging.Options{Logger: quiet}), nil},
		{"reconnect", func(s service) service {
			return reconnect.New(reconnect.Options{}, func(context.Context) (service, error) { return s, nil })
		}, may{layertest.MayHideBelow, layertest.MayEndOnPanic}},
		{"recovery", recovery.Layer[int, int](recovery.Options{}), may{layertest.MayRecoverPanics}},
		{"throttle", throttle.Layer[int, int](throttle.Options{}), nil},
		{"coalesce", coalesce.Layer[int, int, int](func(n int) int { return n }), may{layertest.MaySkip, layertest.MayDetach}},
	} {
		t.Run(tc.name, func(t *testing.T) { layertest.Run(t, tc.layer, tc.may...) })
	}
}

// What conforms alone has to conform in the recommended order.
func TestTheRecommendedStackConforms(t *testing.T) {
	layertest.Run(t, turret.Stack(
		timeout.Layer[int, int](time.Minute),
		retry.Layer[int, int](retry.Options{}),
		func(s service) service { return failover.New(failover.Options{}, s, s) },
		ratelimit.Layer[int, int](ratelimit.Options{Rate: 100}),
		breaker.Layer[int, int](gobreaker.Settings{}),
		timeout.Layer[int, int](10*time.Second),
	), layertest.MayRepeat)
}
