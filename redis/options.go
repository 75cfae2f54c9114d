package fleet

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret/middleware/ratelimit"
)

// LimiterOptions configures [NewLimiter]. Client, Key and Rate must be set.
type LimiterOptions struct {
	// Client reaches the Redis that the fleet shares. It stays the caller's to
	// close, after the Limiter. Set its ContextTimeoutEnabled: without, a call
	// that the Limiter has given up goes on in the background until the
	// client's own time-outs end it. Set MaxRetries to -1 and DialerRetries to 1:
	// the Limiter asks again by itself, and while the client does, callers wait
	// for all of Timeout, and the error is that it is over, not why.
	Client redis.UniversalClient

	// Key names the quota. Limiters with the same Key, Rate and Burst share
	// one. In Redis it is "rate:" and Key.
	Key string

	// Rate is how many calls a second the fleet makes in the long run: from
	// one a day to a million a second.
	Rate rate.Limit

	// Burst is how many calls the fleet may make at once after a quiet time.
	// Zero is as in [ratelimit.Options], a tenth of a second's worth. Less may
	// leave some of the quota unused, as Redis must then be asked at the very
	// moment when a token comes.
	Burst int

	// Replicas is how many processes are expected to share the quota: without
	// Redis, this one keeps to Rate/Replicas and Burst/Replicas, and a burst
	// of at least 1. Zero is 10.
	Replicas int

	// Timeout is how long an answer of Redis may take. Zero is 50 ms.
	Timeout time.Duration

	// OnFallback, if not nil, is called when the Limiter takes to its local
	// share, with the reason. OnRecover is called when Redis answers again,
	// with how long that took.
	//
	// They are called one at a time, while callers are served already. They
	// must not call Close; until they return, Redis is not asked. They run in a
	// goroutine of the Limiter's, so that a panic of theirs ends the program.
	OnFallback func(err error)
	OnRecover  func(after time.Duration)
}

const (
	defaultReplicas = 10
	defaultTimeout  = 50 * time.Millisecond

	minRate  = rate.Limit(1.0 / (24 * 60 * 60))
	maxRate  = 1e6
	maxBurst = 1e6
)

// Validate says what is wrong with o, or returns nil.
func (o LimiterOptions) Validate() error {
	switch {
	case isNil(o.Client):
		return errors.New("fleet: Client is nil; set the client of the Redis that the fleet shares")
	case o.Key == "":
		return errors.New("fleet: Key is empty; name the quota, as all who share it do")
	}
	if err := (ratelimit.Options{Rate: o.Rate, Burst: o.Burst}).Validate(); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	switch {
	case o.Rate < minRate || o.Rate > maxRate:
		return fmt.Errorf("fleet: Rate is %v; it is calls per second, from one a day to a million a second", float64(o.Rate))
	case o.Burst > maxBurst:
		return fmt.Errorf("fleet: Burst is %d; it is a million at most", o.Burst)
	case o.Replicas < 0:
		return fmt.Errorf("fleet: Replicas is %d; it is how many share the quota, or 0 for %d", o.Replicas, defaultReplicas)
	case o.Timeout < 0:
		return fmt.Errorf("fleet: Timeout is %v; it is how long Redis may take to answer, or 0 for %v", o.Timeout, defaultTimeout)
	}
	return nil
}

// isNil reports whether c is nil, or a nil pointer in an interface.
func isNil(c redis.UniversalClient) bool {
	v := reflect.ValueOf(c)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

func (o LimiterOptions) withDefaults() LimiterOptions {
	o.Burst = ratelimit.New(o.Rate, o.Burst).Burst()
	if o.Replicas == 0 {
		o.Replicas = defaultReplicas
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return o
}

// share returns what this replica keeps to without Redis.
func (o LimiterOptions) share() (rate.Limit, int) {
	return o.Rate / rate.Limit(o.Replicas), max(1, o.Burst/o.Replicas)
}
