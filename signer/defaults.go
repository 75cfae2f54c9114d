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

	// AttemptTimeout is that of each attempt. 0 means 1 s, or a quarter of
	// Timeout where that is less. Where contexts bring deadlines of their own, it
	// is to be well below those, or a Region that hangs leaves no time for the next
	// one.
	AttemptTimeout time.Duration

	// Rate is each replica's. 0 means 1,000 a second, an AWS account's quota in a
	// Region. Signers that share an account share a Limiter.
	Rate ratelimit.Options

	// Failover is for its hooks, and the rest; see Builder.Failover.
	Failover failover.Options

	// Retry's Backoff is from 25 ms to 1 s, and its Budget one of 20 % and 10 a
	// second for each stack that is built, unless set. Its MaxAttempts are 100:
	// Timeout and Budget end a call before. Refusals are waited out, always, so
	// that a call outlasts an outage shorter than its Timeout: all but a KMS that
	// throttles everything, which is not an outage to a breaker, and uses up the
	// Budget.
	Retry retry.Options

	// Breaker trips after 6 failures in a row unless told otherwise. Its Timeout
	// is 400 ms unless set, so that the end of an outage is soon seen.
	Breaker gobreaker.Settings
}

func (d Defaults) addTo(b Builder) Builder {
	d.Timeout = cmp.Or(d.Timeout, 10*time.Second)
	d.AttemptTimeout = cmp.Or(d.AttemptTimeout, min(time.Second, d.Timeout/4))
	if d.Rate.Limiter == nil {
		d.Rate.Rate = cmp.Or(d.Rate.Rate, 1000)
	}
	b = b.Timeout(d.Timeout)
	b = d.addRetry(b)
	d.Breaker.Timeout = cmp.Or(d.Breaker.Timeout, 400*time.Millisecond)
	return b.Failover(d.Failover).RateLimit(d.Rate).CircuitBreaker(d.Breaker).Timeout(d.AttemptTimeout)
}

// addRetry adds a retry whose budget, unless given, is each stack's own.
func (d Defaults) addRetry(b Builder) Builder {
	o := d.Retry
	o.WaitRejected = true
	o.MaxAttempts = cmp.Or(o.MaxAttempts, 100)
	o.Backoff = cmp.Or(o.Backoff, retry.Backoff{Min: 25 * time.Millisecond, Max: time.Second})
	if err := o.Validate(); err != nil {
		return b.fail("Defaults", err)
	}
	return b.add(step{name: "retry", make: func(string) Layer {
		o := o
		if o.Budget == nil {
			o.Budget = retry.NewBudget(0.2, 10)
		}
		return retry.Layer[Request, Response](o)
	}})
}
