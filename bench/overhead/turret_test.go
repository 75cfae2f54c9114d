package overhead_test

import (
	"context"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

type layer = turret.Layer[int, int]

func turretTimeout() layer { return timeout.Layer[int, int](time.Minute) }
func turretRetry() layer   { return retry.Layer[int, int](retry.Options{}) }
func turretBreaker() layer { return breaker.Layer[int, int](gobreaker.Settings{}) }
func turretRateLimit() layer {
	return ratelimit.Layer[int, int](ratelimit.Options{Rate: plenty, Burst: plenty})
}

// turretStack returns a call through layers, outermost first.
func turretStack(layers ...layer) call {
	return turret.Stack(layers...)(turret.ServiceFunc[int, int](answer)).Call
}

// answer is the service: the fastest there is.
func answer(_ context.Context, n int) (int, error) { return n, nil }
