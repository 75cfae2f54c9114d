package middleware_test

import (
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/layertest"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
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
		{"failover", func(s service) service { return failover.New(failover.Options{}, s, s) }, may{layertest.MayRepeat}},
		{"ratelimit", ratelimit.Layer[int, int](ratelimit.Options{Rate: 100}), nil},
		{"retry", retry.Layer[int, int](retry.Options{}), may{layertest.MayRepeat}},
		{"timeout", timeout.Layer[int, int](time.Minute), nil},
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
