package breaker

import (
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
)

// phase is a time in which the breaker is not closed.
type phase struct {
	state  gobreaker.State
	until  time.Time // of an open one: the first instant at which gobreaker admits a probe
	reason string    // why it opened
	last   error     // the failure that opened it
}

// isOpen reports whether the phase refuses every call still.
func (p *phase) isOpen() bool {
	return p.state == gobreaker.StateOpen && time.Now().Before(p.until)
}

// observed returns s for gobreaker, with functions that follow what it does.
// Gobreaker calls them under its lock, which guards what they share: a result's
// error, the counts that trip on it, and the change of state, in this order.
func (b *Breaker) observed(s gobreaker.Settings) gobreaker.Settings {
	var (
		last   error
		reason string
		trips  = s.ReadyToTrip
	)
	if trips == nil { // gobreaker's default, which it keeps to itself
		trips = func(c gobreaker.Counts) bool { return c.ConsecutiveFailures > 5 }
	}
	s.IsExcluded = func(err error) bool { return err == errNeutral }
	s.IsSuccessful = func(err error) bool {
		if err == nil {
			return true
		}
		last = err
		return false
	}
	s.ReadyToTrip = func(c gobreaker.Counts) bool {
		if !trips(c) {
			return false
		}
		reason = because(c)
		return true
	}
	s.OnStateChange = func(_ string, from, to gobreaker.State) {
		switch to {
		case gobreaker.StateOpen:
			if from == gobreaker.StateHalfOpen {
				reason = "a failed probe" // on which ReadyToTrip is not asked
			}
			// Gobreaker took its own time a moment ago, and wants it exceeded.
			until := time.Now().Add(b.openPeriod + 1)
			b.phase.Store(&phase{to, until, reason, last})
		case gobreaker.StateHalfOpen:
			b.phase.Store(&phase{state: to, reason: reason, last: last})
		case gobreaker.StateClosed:
			b.phase.Store(nil)
		}
		b.changes.add(from, to)
	}
	return s
}

func because(c gobreaker.Counts) string {
	switch {
	case c.TotalFailures == 1:
		return "a failure"
	case c.TotalFailures == c.ConsecutiveFailures:
		return fmt.Sprintf("%d consecutive failures", c.TotalFailures)
	default:
		return fmt.Sprintf("%d failures in %d calls", c.TotalFailures, c.TotalFailures+c.TotalSuccesses)
	}
}
