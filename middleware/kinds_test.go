package middleware_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
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

// kinds has a line per layer. Limits are small, so that a permit that is not
// given back is missed.
var kinds = []kind{
	{"breaker", func(r *rand.Rand) layer { return breaker.Layer[int, int](settings(r)) }, []error{breaker.ErrOpen}},
	{"failover", func(*rand.Rand) layer {
		return func(s service) service { return failover.New(failover.Options{}, s, s) }
	}, nil},
	{"ratelimit", func(r *rand.Rand) layer { return ratelimit.Layer[int, int](limit(r)) }, []error{ratelimit.ErrLimited}},
	{"retry", func(r *rand.Rand) layer { return retry.Layer[int, int](retries(r)) }, nil},
	{"timeout", func(r *rand.Rand) layer { return timeout.Layer[int, int](upTo(r, 10*time.Second)) }, []error{timeout.ErrExceeded}},
	{"timeout that learns", func(r *rand.Rand) layer {
		low := upTo(r, 10*time.Second)
		return timeout.LearningLayer[int, int](timeout.Learning{Min: low, Max: low + upTo(r, 10*time.Second)})
	}, []error{timeout.ErrExceeded}},
	{"impatient breaker", func(r *rand.Rand) layer {
		return func(s service) service {
			return breaker.Share[int, int](breaker.NewImpatient(settings(r), upTo(r, 10*time.Second)))(s)
		}
	}, []error{breaker.ErrOpen}},
	{"fallback", func(*rand.Rand) layer {
		return func(s service) service {
			return fallback.Layer[int, int](fallback.Options[int, int]{Service: turret.ServiceFunc[int, int](s.Call)})(s)
		}
	}, []error{fallback.ErrFailed}},
	{"buffer", func(r *rand.Rand) layer {
		o := buffer.Options{Capacity: 1 + r.IntN(3)}
		return connected(reconnect.Options{MaxBackoff: time.Second}, func(s service) service { return buffer.New(s, o) })
	}, []error{buffer.ErrFull, buffer.ErrClosed, reconnect.ErrBackoff}},
	{"adaptive", func(r *rand.Rand) layer { return adaptive.Layer[int, int](adaptive.Options{Max: 1 + r.IntN(3)}) }, []error{adaptive.ErrLimited}},
	{"balance", func(r *rand.Rand) layer {
		return func(s service) service { return balance.New(balance.Options{}, s, s) }
	}, []error{balance.ErrNoMembers}},
	{"steer", func(*rand.Rand) layer {
		return func(s service) service { return steer.New(odd, map[string]service{"odd": s, "even": s}) }
	}, []error{steer.ErrNoTarget}},
	{"chaos", func(r *rand.Rand) layer { return chaos.Layer[int, int](chaos.Options{}) }, nil},
	{"concurrency", func(r *rand.Rand) layer {
		return concurrency.Layer[int, int](concurrency.Options{Max: 1 + r.IntN(2), MaxQueue: 1 + r.IntN(4)})
	}, []error{concurrency.ErrFull}},
	{"hedge", func(r *rand.Rand) layer { return hedge.Layer[int, int](hedge.Options{Delay: upTo(r, time.Second)}) }, []error{hedge.ErrFailed}},
	{"loadshed", func(r *rand.Rand) layer { return loadshed.Layer[int, int](loadshed.Options{}) }, []error{loadshed.ErrOverloaded}},
	{"logging", func(r *rand.Rand) layer { return logging.Layer[int, int](logging.Options{Logger: quiet}) }, nil},
	{"filter", func(r *rand.Rand) layer { return filter.Layer[int, int](pass) }, nil},
	{"reconnect", func(r *rand.Rand) layer { return connected(reconnect.Options{}, itself) }, []error{reconnect.ErrBackoff}},
	{"recovery", func(r *rand.Rand) layer { return recovery.Layer[int, int](recovery.Options{}) }, []error{recovery.ErrPanic}},
	{"throttle", func(r *rand.Rand) layer {
		return throttle.Layer[int, int](throttle.Options{Window: upTo(r, 10*time.Second) + time.Second})
	}, []error{throttle.ErrRefused}},
	{"coalesce", func(*rand.Rand) layer { return coalesce.Layer[int, int, int](func(n int) int { return n }) }, nil},
}

func settings(r *rand.Rand) gobreaker.Settings {
	trips := 1 + r.Uint32N(5)
	return gobreaker.Settings{
		MaxRequests: r.Uint32N(3),
		Timeout:     upTo(r, 10*time.Second),
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= trips },
	}
}

func limit(r *rand.Rand) ratelimit.Options {
	return ratelimit.Options{
		Rate:    rate.Limit(1 + r.IntN(100)),
		Burst:   r.IntN(3),
		MaxWait: [...]time.Duration{0, ratelimit.NoWait, upTo(r, time.Second)}[r.IntN(3)],
	}
}

func retries(r *rand.Rand) retry.Options {
	o := retry.Options{MaxAttempts: 1 + r.IntN(3), WaitRejected: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		o.Budget = retry.NewBudget(0.5, 1)
	}
	return o
}

// upTo draws a time of at most d, and rather a short one.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return 1 + d>>r.IntN(14) }

var quiet = slog.New(slog.DiscardHandler)

// connected connects to s again and again. A connection closed leaves s open.
func connected(o reconnect.Options, connect func(service) service) layer {
	return func(s service) service {
		open := turret.ServiceFunc[int, int](s.Call)
		svc := reconnect.New(o, func(context.Context) (service, error) { return connect(open), nil })
		return &ownerOf{svc, []any{svc, s}}
	}
}

type ownerOf struct {
	service
	below []any
}

func (*ownerOf) String() string  { return "connects to" }
func (o *ownerOf) Unwrap() []any { return o.below }

func itself(s service) service { return s }

func pass(_ context.Context, req int) (int, error) { return req, nil }

func odd(_ context.Context, req int) string { return [...]string{"even", "odd"}[req&1] }
