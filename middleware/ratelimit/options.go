package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"
)

// NoWait, as a bound on waiting, refuses a call for which there is no token now.
const NoWait time.Duration = -1

// Options configures [Layer]. Set Rate, or Limiter; the zero value of the rest
// is sane.
type Options struct {
	// Rate is how many calls a second go through in the long run.
	// rate.Every(d) is one call every d.
	Rate rate.Limit

	// Burst is how many calls may go through at once after a quiet time. Zero
	// is a tenth of a second's worth of Rate, and at least 1: enough to smooth
	// over the scheduler's jitter, and little beside a quota per second.
	Burst int

	// MaxWait bounds the wait for a token. Zero leaves that to the context's
	// deadline, and NoWait refuses instead of waiting.
	MaxWait time.Duration

	// Limiter is used in place of a fresh bucket, and takes the place of Rate
	// and Burst. Stacks that are given the same one share one quota.
	Limiter Limiter

	// OnWait, if set, is told of each call in the caller's goroutine, when it has
	// its token or was refused one.
	OnWait func(ctx context.Context, w Wait)
}

// Wait is how a call got its token, or did not.
type Wait struct {
	Waited time.Duration
	Err    error // why it got none: refused here or by what is below, or its context ended; nil if it got one
}

// Validate says what is wrong with o, or returns nil.
func (o Options) Validate() error {
	if o.MaxWait < 0 && o.MaxWait != NoWait {
		return fmt.Errorf("ratelimit: MaxWait is %v; it is a time to wait, 0 for as long as the context allows, or NoWait", o.MaxWait)
	}
	if o.Limiter == nil {
		return validate("Rate", o.Rate, o.Burst)
	}
	if err := validateLimiter(o.Limiter); err != nil {
		return err
	}
	if o.Rate != 0 || o.Burst != 0 {
		return errors.New("ratelimit: both Limiter and Rate or Burst are set; the Limiter has its own rate, so set one or the other")
	}
	return nil
}

// validateLimiter checks that one of ours was made.
func validateLimiter(limiter Limiter) error {
	wrong := func(what, constructor string) error {
		return fmt.Errorf("ratelimit: Limiter is %s that is nil or zero; make one with ratelimit.%s", what, constructor)
	}
	switch l := limiter.(type) {
	case *TokenBucket:
		if l == nil || l.bucket == nil {
			return wrong("a TokenBucket", "New")
		}
	case *Adaptive:
		if l == nil || l.bucket == nil {
			return wrong("an Adaptive", "NewAdaptive")
		}
	case *Queue:
		if l == nil || l.source == nil {
			return wrong("a Queue", "NewQueue")
		}
	}
	return nil
}

// validate checks a bucket's rate, which goes by name, and its burst.
func validate(name string, limit rate.Limit, burst int) error {
	if err := validateRate(name, limit); err != nil {
		return err
	}
	if burst < 0 {
		return fmt.Errorf("ratelimit: Burst is %d; it is at least 1, or 0 for a tenth of a second's worth", burst)
	}
	return nil
}

func validateRate(name string, limit rate.Limit) error {
	switch {
	case limit == 0:
		return fmt.Errorf("ratelimit: %s is 0, which lets nothing through; set the calls per second", name)
	case limit == rate.Inf, math.IsInf(float64(limit), 1):
		return fmt.Errorf("ratelimit: %s is infinite, which limits nothing; leave the layer out instead", name)
	case !(limit > 0): // negative, or NaN, which compares with nothing
		return fmt.Errorf("ratelimit: %s is %v; it is calls per second, and more than 0", name, float64(limit))
	}
	return nil
}

// burstOr returns burst, or where it is 0 the default that Options documents.
func burstOr(limit rate.Limit, burst int) int {
	if burst != 0 {
		return burst
	}
	return int(max(1, min(limit/10, math.MaxInt32)))
}

func (o Options) limiter() Limiter {
	if o.Limiter != nil {
		return o.Limiter
	}
	return New(o.Rate, o.Burst)
}

// describe is the layer's line in turret.Describe.
func (o Options) describe(limiter Limiter) string {
	line := fmt.Sprintf("rate limit %T", limiter)
	if s, ok := limiter.(fmt.Stringer); ok {
		line = "rate limit " + s.String()
	}
	switch {
	case o.MaxWait > 0:
		line += fmt.Sprintf(", waits %v at most", o.MaxWait)
	case o.MaxWait == NoWait:
		line += ", does not wait"
	}
	return line
}
