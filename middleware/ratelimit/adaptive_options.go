package ratelimit

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// AdaptiveOptions configures [NewAdaptive]. Ceiling must be set; the zero value
// of the rest is sane.
type AdaptiveOptions struct {
	// Ceiling is the highest rate, in calls per second, and the first: what
	// nobody has throttled yet is not slowed down. The quota that the service
	// documents is a good one.
	Ceiling rate.Limit

	// Floor is the lowest rate, in calls per second. Zero is a hundredth of
	// Ceiling, or a tenth with a Tolerance. However little the service grants, this much is still tried.
	Floor rate.Limit

	// Increase is what a second of success at the full rate adds to the rate,
	// in calls per second. Successes below the full rate add in proportion, for
	// they say little about it. Zero is a sixtieth of Ceiling: from nothing
	// back to the top in a minute. With a Tolerance zero is a five-hundredth of
	// Ceiling, and where no call was throttled for ten seconds it grows, up to
	// ten times in as many.
	Increase rate.Limit

	// Decrease is what a throttled call multiplies the rate by, between 0 and
	// 1. Zero is 0.7, or 0.95 with a Tolerance.
	Decrease float64

	// Interval is the least time between two decreases. The calls that were
	// under way together when the service had enough are told so one by one,
	// and are one piece of news; so it should be longer than a call usually
	// takes. Zero is half a second, or 0.2 s with a Tolerance.
	Interval time.Duration

	// Tolerance is the share of throttled calls, below 1, up to which the rate is
	// not lowered: they may be chance, or the doing of others, where our rate
	// changes nothing. It takes a dozen more than that share, and half an Interval,
	// to lower the rate: to what was granted meanwhile, times Decrease. Zero means
	// that each throttled call counts.
	Tolerance float64

	// Burst is how many calls may go through at once. Zero is a tenth of a
	// second's worth of the present rate, and at least 1.
	Burst int
}

// Validate says what is wrong with o, or returns nil.
func (o AdaptiveOptions) Validate() error {
	if err := validate("Ceiling", o.Ceiling, o.Burst); err != nil {
		return err
	}
	o = o.withDefaults()
	if !(o.Tolerance >= 0 && o.Tolerance < 1) {
		return fmt.Errorf("ratelimit: Tolerance is %v; it is a share of the calls, as in 0.15, or 0 for none", o.Tolerance)
	}
	if err := validateRate("Floor", o.Floor); err != nil {
		return err
	}
	if o.Floor > o.Ceiling {
		return fmt.Errorf("ratelimit: Floor is %v, above Ceiling, which is %v; the rate moves between the two", float64(o.Floor), float64(o.Ceiling))
	}
	if err := validateRate("Increase", o.Increase); err != nil {
		return err
	}
	if !(o.Decrease > 0 && o.Decrease < 1) {
		return fmt.Errorf("ratelimit: Decrease is %v; the rate is multiplied by it, so it lies between 0 and 1", o.Decrease)
	}
	if o.Interval < 0 {
		return errors.New("ratelimit: Interval is negative; it is the least time between two decreases")
	}
	return nil
}

func (o AdaptiveOptions) withDefaults() AdaptiveOptions {
	if o.Tolerance > 0 {
		o.Floor = cmp.Or(o.Floor, o.Ceiling/10)
		o.Increase = cmp.Or(o.Increase, o.Ceiling/500)
		o.Decrease = cmp.Or(o.Decrease, 0.95)
		o.Interval = cmp.Or(o.Interval, 200*time.Millisecond)
	}
	o.Floor = cmp.Or(o.Floor, o.Ceiling/100)
	o.Increase = cmp.Or(o.Increase, o.Ceiling/60)
	o.Decrease = cmp.Or(o.Decrease, 0.7)
	o.Interval = cmp.Or(o.Interval, 500*time.Millisecond)
	return o
}
