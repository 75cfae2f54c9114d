package retry

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/turretgo/turret"
)

// NoJitter as a [Backoff]'s Jitter makes its delays exact.
const NoJitter = -1

// Backoff says how long to wait before each retry: exponentially longer, and
// random, so that callers who failed together do not come back together.
//
// A delay is drawn from [(1-Jitter)·d, d], where d is Min at the first retry and
// Factor times as much at each further one, up to Max. This is the "full jitter"
// of Marc Brooker's "Exponential Backoff and Jitter" (AWS Architecture Blog,
// 2015) when Jitter is 1, as it is unless set. The zero Backoff is ready to use.
type Backoff struct {
	Min    time.Duration // ceiling of the first delay; 0 means 50 ms
	Max    time.Duration // ceiling of all delays; 0 means 5 s, or Min where that is more
	Factor float64       // growth from one delay to the next, at least 1; 0 means 2
	Jitter float64       // random share of a delay, up to 1; 0 means 1, NoJitter none

	// Throttled takes the place of Min after an error of class Throttled: who is
	// over quota must slow down, not merely try again. 0 means four times Min,
	// but no more than Max.
	Throttled time.Duration
}

// Validate says what is wrong with b, if anything is.
func (b Backoff) Validate() error {
	switch d := b.withDefaults(); {
	case b.Min < 0 || b.Max < 0 || b.Throttled < 0:
		return fmt.Errorf("retry: backoff is negative (Min %v, Max %v, Throttled %v); delays are zero, for the default, or more", b.Min, b.Max, b.Throttled)
	case d.Min > d.Max:
		return fmt.Errorf("retry: backoff's Min %v is above its Max %v; Max must be at least Min", d.Min, d.Max)
	case d.Throttled > d.Max:
		return fmt.Errorf("retry: backoff's Throttled %v is above its Max %v; Max must be at least Throttled", d.Throttled, d.Max)
	case !(d.Factor >= 1) || math.IsInf(d.Factor, 0):
		return fmt.Errorf("retry: backoff's Factor is %v; it must be a finite number of at least 1", b.Factor)
	case d.Jitter != NoJitter && !(d.Jitter >= 0 && d.Jitter <= 1):
		return fmt.Errorf("retry: backoff's Jitter is %v; it must be from 0 to 1, or NoJitter", b.Jitter)
	}
	return nil
}

func (b Backoff) withDefaults() Backoff {
	if b.Min == 0 {
		b.Min = 50 * time.Millisecond
		if b.Max > 0 {
			b.Min = min(b.Min, b.Max)
		}
	}
	if b.Max == 0 {
		b.Max = max(5*time.Second, b.Min, b.Throttled)
	}
	if b.Throttled == 0 {
		b.Throttled = b.Max
		if b.Min < b.Max/4 {
			b.Throttled = 4 * b.Min
		}
	}
	if b.Factor == 0 {
		b.Factor = 2
	}
	if b.Jitter == 0 {
		b.Jitter = 1
	}
	return b
}

// delay returns how long to wait after failed attempt n, counted from 1. It
// takes a backoff with its defaults filled in.
func (b Backoff) delay(n int, class turret.Class) time.Duration {
	first := b.Min
	if class == turret.Throttled {
		first = b.Throttled
	}
	// In floating point an attempt of a thousand is merely infinite, and capped.
	d := float64(first) * math.Pow(b.Factor, float64(n-1))
	if d >= float64(b.Max) {
		return b.spread(b.Max)
	}
	return b.spread(time.Duration(d))
}

// spread draws a delay of at most d.
func (b Backoff) spread(d time.Duration) time.Duration {
	if b.Jitter == NoJitter {
		return d
	}
	return d - time.Duration(float64(d)*b.Jitter*rand.Float64())
}
