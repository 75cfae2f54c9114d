package signer

import (
	"cmp"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
)

// Defaults configure the recommended stack for a key in a KMS:
//
//	Timeout → Retry → Failover → RateLimit → CircuitBreaker → Timeout
//
// The zero Defaults are the recommendation. So is each field, and each of the
// fields of Retry and Breaker that are named here, when left at zero.
type Defaults struct {
	// Timeout is that of a signature with all its attempts. 0 means 10 s.
	Timeout time.Duration

	// AttemptTimeout is that of each attempt. 0 means 1 s.
	AttemptTimeout time.Duration

	// Rate is each replica's. 0 means 1,000 a second, an AWS account's quota in a
	// Region. Signers that share an account share a Limiter.
	Rate ratelimit.Options

	// Retry's MaxAttempts are 8, its Backoff from 25 ms to 1 s, and its Budget
	// one of 20 % and 10 a second for this stack alone, unless set. Refusals are
	// waited out: a call outlasts an outage shorter than its Timeout.
	Retry retry.Options

	// Breaker's Timeout is 400 ms unless set, so that the end of an outage is
	// soon seen; it trips after 6 failures in a row.
	Breaker gobreaker.Settings
}

func (d Defaults) addTo(b Builder) Builder {
	d.Retry.WaitRejected = true
	d.Retry.MaxAttempts = cmp.Or(d.Retry.MaxAttempts, 8)
	d.Retry.Backoff = cmp.Or(d.Retry.Backoff, retry.Backoff{Min: 25 * time.Millisecond, Max: time.Second})
	if d.Retry.Budget == nil {
		d.Retry.Budget = retry.NewBudget(0.2, 10)
	}
	if d.Rate.Limiter == nil {
		d.Rate.Rate = cmp.Or(d.Rate.Rate, 1000)
	}
	d.Breaker.Timeout = cmp.Or(d.Breaker.Timeout, 400*time.Millisecond)
	return b.
		Timeout(cmp.Or(d.Timeout, 10*time.Second)).
		Retry(d.Retry).
		Failover(failover.Options{}).
		RateLimit(d.Rate).
		CircuitBreaker(d.Breaker).
		Timeout(cmp.Or(d.AttemptTimeout, time.Second))
}
