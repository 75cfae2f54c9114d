package retry

import (
	"context"
	"fmt"
	"time"

	"github.com/turretgo/turret"
)

// Options configure a retry. The zero Options are ready to use: three attempts,
// full jitter between 0 and 50 ms, then 100 ms (200 and 400 when throttled).
type Options struct {
	// MaxAttempts is how many times a call is made in all, the first included.
	// 0 means 3.
	MaxAttempts int

	// Backoff is the wait between attempts. Where an error says RetryAfter, the
	// wait is at least that long, but no longer than Backoff.Max.
	Backoff Backoff

	// Retryable, if set, decides whether to call again after err, in place of
	// the error's class. It is not asked when the caller has gone, nor about a
	// refusal that WaitRejected waits out.
	Retryable func(err error, class turret.Class) bool

	// Budget bounds retries across calls. Nil means no bound but MaxAttempts.
	Budget *Budget

	// WaitRejected waits out a refusal from below, such as an open breaker's or
	// a limiter's, if it says RetryAfter and that fits the context's deadline.
	// Such a wait costs the budget nothing and, under a deadline, is not counted
	// as an attempt: the service was never reached.
	WaitRejected bool

	// OnRetry, if set, is called before each wait, in the caller's goroutine.
	OnRetry func(ctx context.Context, e Event)
}

// Event is a retry about to happen.
type Event struct {
	Attempt int           // the attempt that failed, counted from 1
	Err     error         // its error
	Class   turret.Class  // what the error means
	Delay   time.Duration // how long the layer waits now
}

// Validate says what is wrong with o, if anything is.
func (o Options) Validate() error {
	if o.MaxAttempts < 0 {
		return fmt.Errorf("retry: MaxAttempts is %d; it must be at least 1, or 0 for the default of 3", o.MaxAttempts)
	}
	return o.Backoff.Validate()
}

// String is the layer's line in [turret.Describe].
func (o Options) String() string {
	o = o.withDefaults()
	line := fmt.Sprintf("retry %d attempts, backoff %v–%v", o.MaxAttempts, o.Backoff.Min, o.Backoff.Max)
	if o.Budget != nil {
		line += ", " + o.Budget.String()
	}
	if o.WaitRejected {
		line += ", waits out refusals"
	}
	return line
}

func (o Options) withDefaults() Options {
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 3
	}
	o.Backoff = o.Backoff.withDefaults()
	return o
}
