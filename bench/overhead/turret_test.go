package overhead_test

import (
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

// turretFour is the stack of the four layers that everyone needs.
func turretFour(service call) call {
	return turretStack(service, turretTimeout(), turretRetry(), turretRateLimit(), turretBreaker())
}

// turretStack returns a call through layers, outermost first, to a service.
func turretStack(service call, layers ...layer) call {
	return turret.Stack(layers...)(turret.ServiceFunc[int, int](service)).Call
}
