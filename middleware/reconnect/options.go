package reconnect

import (
	"context"
	"fmt"
	"time"
)

// Options configure a reconnecting service. The zero Options are ready to use.
type Options struct {
	// MinBackoff and MaxBackoff bound the wait from a failure to the next
	// attempt to connect. It is drawn from [d/2, d], where d is MinBackoff at
	// first and twice as much with each failure in a row, up to MaxBackoff. A
	// failure is a connect that failed, or a connection that broke before any
	// call on it went well. One that broke later is replaced at once, but not
	// sooner than MinBackoff after it was made.
	//
	// 0 means 100 ms and 30 s, or as near to that as the other one allows.
	MinBackoff, MaxBackoff time.Duration

	// Broken decides whether a call's error means that its connection is of no
	// more use. It is not asked about the end of the caller's own context, which
	// says nothing. Nil stands for errors of class Transient and Unknown: where
	// errors carry answers, as of a key that is not there, classify them below,
	// or each such answer costs a connection.
	Broken func(err error) bool

	// OnBroken, if set, is called when a connection broke, once for each, in the
	// goroutine of the caller whose call err ended. Ctx is that call's.
	OnBroken func(ctx context.Context, err error)
}

// Validate says what is wrong with o, if anything is.
func (o Options) Validate() error {
	switch d := o.withDefaults(); {
	case o.MinBackoff < 0 || o.MaxBackoff < 0:
		return fmt.Errorf("reconnect: backoff is negative (MinBackoff %v, MaxBackoff %v); it must be above zero, or 0 for the default", o.MinBackoff, o.MaxBackoff)
	case d.MinBackoff > d.MaxBackoff:
		return fmt.Errorf("reconnect: MinBackoff %v is above MaxBackoff %v; it must be at most that", d.MinBackoff, d.MaxBackoff)
	}
	return nil
}

func (o Options) withDefaults() Options {
	const low, high = 100 * time.Millisecond, 30 * time.Second
	switch {
	case o.MinBackoff == 0 && o.MaxBackoff == 0:
		o.MinBackoff, o.MaxBackoff = low, high
	case o.MinBackoff == 0:
		o.MinBackoff = min(low, o.MaxBackoff)
	case o.MaxBackoff == 0:
		o.MaxBackoff = max(high, o.MinBackoff)
	}
	return o
}

// String is the service's line in turret.Describe. It takes options with their
// defaults filled in.
func (o Options) String() string {
	return fmt.Sprintf("reconnect, backoff %v–%v", o.MinBackoff, o.MaxBackoff)
}
