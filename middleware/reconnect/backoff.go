package reconnect

import (
	"math/rand/v2"
	"time"
)

// backoff says when to connect again. The zero time is: now.
type backoff struct {
	min, max time.Duration
	until    time.Time
	failures int // in a row
	last     error
}

// failed puts the next attempt off, longer from one failure to the next.
func (b *backoff) failed(err error) {
	b.failures++
	b.last = err
	ceiling := b.min
	for n := 1; n < b.failures && ceiling < b.max; n++ {
		ceiling += min(ceiling, b.max-ceiling) // twice as much, without overflow
	}
	// Half of it at random: who lost a server together does not come back to it
	// together.
	b.until = time.Now().Add(ceiling - rand.N(ceiling/2+1))
}

// broke allows the next attempt at once after a connection that was of use for a
// while, and puts it off after one that never was.
func (b *backoff) broke(made time.Time, worked bool, err error) {
	if !worked {
		b.failed(err)
		return
	}
	b.failures = 0
	b.last = err
	b.until = made.Add(b.min)
}

// refusal returns the error of a call for which it is too soon.
func (b *backoff) refusal() error {
	if wait := time.Until(b.until); wait > 0 {
		return &BackoffError{wait, b.failures, b.last}
	}
	return nil
}
