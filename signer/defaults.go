package signer

import (
	"cmp"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// Defaults configure the recommended stack for a key in a KMS:
//
//	Timeout → Retry → Failover → RateLimit → CircuitBreaker → Timeout
//
// The zero Defaults are the recommendation. So is each field, and each of the
// fields of Rate, Retry and Breaker that are named here, when left at zero.
//
// Each default is there for a figure, which bench/faults reproduces: on a KMS that
// answers in 20 ms, what 100 callers a second get under faults.
type Defaults struct {
	// Timeout is that of a signature with all its attempts. 0 means 10 s: an
	// outage of 5 s then fails no call.
	Timeout time.Duration

	// AttemptTimeout is that of each attempt, and fixed. 0 means one that follows
	// the key, from 250 ms to 1 s for a first attempt and 1 s for those after it
	// (timeout.LearningLayer), and no more than a quarter of Timeout: where 2 % of
	// the requests hang the 99th percentile is 0.29 s, and with a second for each
	// attempt 1.04 s, as in a hung outage 0.09 calls are made for each signature
	// and not 0.24. Where contexts bring deadlines of their own, it is to be well
	// below those, or a Region that hangs leaves no time for the next one.
	AttemptTimeout time.Duration

	// Rate is each replica's. Where neither its Rate nor its Limiter is set, each
	// finds its own, from 100 to 1,000 a second, which is an AWS account's quota
	// in a Region: it is lowered where more than 15 % of the calls are throttled,
	// to what the KMS grants (ratelimit.Adaptive). Offered 400 a second where the
	// quota is 300, all are signed, with less than 0.02 throttled calls each; a
	// fixed 1,000 signs 83 %, with 0.5. Where that goes on for a minute it is
	// 0.07, and none for who says that Rate is 300; who has a quota below 100
	// should. Signers that share an account share a Limiter, and what it learns.
	//
	// MaxWait, for all of these, is a quarter of Timeout. Without it a load above
	// the rate fills the queue up to the deadline, and then each token goes to a
	// call that has no time left to use it: at 125 % of a rate that was told, none
	// at all is signed in the second minute, and with it the whole rate. If callers
	// have less patience than Timeout, make Timeout theirs.
	Rate ratelimit.Options

	// Failover is for its hooks, and the rest; see Builder.Failover.
	Failover failover.Options

	// Retry's Backoff is from 25 ms, for throttled calls too, to 1 s, and its
	// Budget one of 20 % and 10 a second for each stack that is built. With 10 %
	// of the calls throttled and 3.5 % failing otherwise the 99th percentile is
	// 0.11 s; with 100 ms for throttled ones 0.22 s, at as many KMS calls. Its
	// MaxAttempts are 100: Timeout and Budget end a call before. Refusals are
	// waited out, always, so that a call outlasts an outage shorter than its
	// Timeout: all but a KMS that throttles everything, which is not an outage to
	// a breaker, and uses up the Budget.
	Retry retry.Options

	// Breaker trips after 6 failures in a row unless told otherwise. Its Timeout
	// is 170 ms. In an outage 0.07 calls are then made for each signature asked
	// for, 0.09 if it is one that hangs, and the first success comes within half a
	// second of its end. With 100 ms it is 0.10 calls; with 400 ms, after an outage
	// that hangs under 400 callers a second, up to 0.64 s.
	Breaker gobreaker.Settings
}

func (d Defaults) addTo(b Builder) Builder {
	d.Timeout = cmp.Or(d.Timeout, 10*time.Second)
	d.Rate.MaxWait = cmp.Or(d.Rate.MaxWait, d.quarter())
	d.Breaker.Timeout = cmp.Or(d.Breaker.Timeout, 170*time.Millisecond)
	b = d.addRetry(b.Timeout(d.Timeout)).Failover(d.Failover)
	b = d.addRateLimit(b).CircuitBreaker(d.Breaker)
	return d.addAttemptTimeout(b)
}

// quarter is that of Timeout. It is above zero, so that a Timeout that makes no
// sense is reported once.
func (d Defaults) quarter() time.Duration { return max(1, d.Timeout/4) }

// addRateLimit adds the limit that was asked for, or one for each replica that
// finds its quota.
func (d Defaults) addRateLimit(b Builder) Builder {
	if d.Rate.Limiter != nil || d.Rate.Rate != 0 {
		return b.RateLimit(d.Rate)
	}
	o := d.Rate
	o.Rate = 1000
	if err := o.Validate(); err != nil {
		return b.fail("RateLimit", err)
	}
	find := ratelimit.AdaptiveOptions{Ceiling: o.Rate, Burst: o.Burst, Tolerance: 0.15}
	return b.add(step{name: "ratelimit", make: func(string) Layer {
		o := o
		o.Limiter, o.Rate, o.Burst = ratelimit.NewAdaptive(find), 0, 0
		return ratelimit.Layer[Request, Response](o)
	}})
}

// addAttemptTimeout adds the timeout that was asked for, or one that learns.
func (d Defaults) addAttemptTimeout(b Builder) Builder {
	if d.AttemptTimeout != 0 {
		return b.Timeout(d.AttemptTimeout)
	}
	longest := min(time.Second, d.quarter())
	l := timeout.Learning{Min: min(250*time.Millisecond, longest), Max: longest}
	return b.add(step{name: "timeout", limit: longest, make: func(string) Layer { return timeout.LearningLayer[Request, Response](l) }})
}

// addRetry adds a retry whose budget, unless given, is each stack's own.
func (d Defaults) addRetry(b Builder) Builder {
	o := d.Retry
	o.WaitRejected = true
	o.MaxAttempts = cmp.Or(o.MaxAttempts, 100)
	o.Backoff = cmp.Or(o.Backoff, retry.Backoff{Min: 25 * time.Millisecond, Max: time.Second, Throttled: 25 * time.Millisecond})
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
