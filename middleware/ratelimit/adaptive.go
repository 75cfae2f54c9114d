package ratelimit

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
)

// Adaptive is a [Limiter] that finds its rate: it rises while calls succeed and
// falls when the service throttles them. It is a [TokenBucket] underneath.
//
// Additive increase and multiplicative decrease is how TCP shares a line, and
// for the same reason: clients that do so end up sharing a quota fairly though
// none of them knows it, or the others (Chiu and Jain, "Analysis of the
// Increase and Decrease Algorithms for Congestion Avoidance", 1989).
//
// With a Tolerance, a few throttled calls are taken for chance, and the rate falls
// in one step to what the service has granted since there were too many of them:
// a quota far below the ceiling is found within a second. It then rises slowly,
// and faster where no call was throttled for ten seconds.
//
// Only turret.Throttled lowers the rate. A service that fails is a breaker's
// business, and a refusal by a layer below never reached the service.
//
// It is safe for concurrent use. Stacks that call one service under one quota
// share one, and what each learns serves all.
type Adaptive struct {
	bucket *TokenBucket
	o      AdaptiveOptions

	mu      sync.Mutex
	rate    float64 // the bucket's may be a little lower: see raise
	lowered time.Time
	news    news
}

// NewAdaptive returns a limiter that starts at o.Ceiling. It panics with
// o.Validate's error if there is one.
func NewAdaptive(o AdaptiveOptions) *Adaptive {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	o = o.withDefaults()
	return &Adaptive{bucket: New(o.Ceiling, o.Burst), o: o, rate: float64(o.Ceiling)}
}

// Rate returns the present rate.
func (a *Adaptive) Rate() rate.Limit { return a.bucket.Rate() }

// String is the limiter's part of a line in [turret.Describe].
func (a *Adaptive) String() string {
	return fmt.Sprintf("adaptive, %.6g/s to %.6g/s", float64(a.o.Floor), float64(a.o.Ceiling))
}

// Wait takes a token, and waits for it if it must, as [Limiter] says.
func (a *Adaptive) Wait(ctx context.Context, max time.Duration) error {
	return a.bucket.Wait(ctx, max)
}

// WaitReady is [TokenBucket.WaitReady].
func (a *Adaptive) WaitReady(ctx context.Context, max time.Duration, ready func() error) error {
	return a.bucket.WaitReady(ctx, max, ready)
}

// Check is [TokenBucket.Check].
func (a *Adaptive) Check(max time.Duration) error { return a.bucket.Check(max) }

// Observe takes note of what became of a call made with ctx: err, or success if
// that is nil. [Layer] calls it.
func (a *Adaptive) Observe(ctx context.Context, err error) {
	switch {
	case err == nil:
		a.raise()
	case turret.Outcome(ctx, err) == turret.Throttled:
		a.lower()
	}
}

// raise adds one success's part of Increase. At the full rate, rate successes a
// second add up to it.
func (a *Adaptive) raise() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.news.granted(a.o.Tolerance)
	if a.rate == float64(a.o.Ceiling) {
		return
	}
	pace := 1.0
	if a.o.Tolerance > 0 {
		pace = a.news.pace(time.Now())
	}
	a.rate += pace * float64(a.o.Increase) / math.Max(a.rate, 1) // below 1/s, one success is not worth more than a second
	a.rate = math.Min(a.rate, float64(a.o.Ceiling))
	// In steps of a hundredth, or each success would wake the head of the queue.
	if now := float64(a.bucket.Rate()); a.rate >= now*1.01 || a.rate == float64(a.o.Ceiling) && now < a.rate {
		a.apply()
	}
}

func (a *Adaptive) lower() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.news.last = now
	if now.Sub(a.lowered) < a.o.Interval {
		return
	}
	if a.o.Tolerance > 0 {
		granted, enough := a.news.throttled(now, a.o.Interval/2)
		if !enough {
			return
		}
		a.rate = math.Min(a.rate, granted)
	}
	a.lowered = now
	a.rate = math.Max(a.rate*a.o.Decrease, float64(a.o.Floor))
	a.apply()
}

func (a *Adaptive) apply() {
	// Valid, as it lies between Floor and Ceiling.
	_ = a.bucket.SetRate(rate.Limit(a.rate), a.o.Burst)
}
