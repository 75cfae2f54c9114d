package breaker

import (
	"fmt"
	"sync/atomic"
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

// isHalfOpen reports whether calls in the phase, which may be nil, are probes.
func (p *phase) isHalfOpen() bool { return p != nil && p.state == gobreaker.StateHalfOpen }

// engine is a breaker of gobreaker's. A [Breaker] has one at a time.
type engine struct {
	*gobreaker.CircuitBreaker[struct{}]
	// phase is nil while closed. It follows gobreaker's state under gobreaker's
	// lock, and is read without it: looking at a breaker holds up no call.
	phase   atomic.Pointer[phase]
	overdue atomic.Bool // its probes are
	byWall  bool        // gobreaker tells by the wall's clock how long it is open
	line    *line
	// What made it open, or is going to. Under gobreaker's lock.
	reason string
	last   error
}

// line is what an engine has in common with those that took its place because its
// probes were overdue.
type line struct{ _ byte } // not empty, or two might be the same

func (b *Breaker) phase() *phase { return b.engine.Load().phase.Load() }

// observed returns the settings of e, with functions that follow what it does.
// Gobreaker calls them under its lock, for a result's error, the counts that trip
// on it, and the change of state, in this order.
func (b *Breaker) observed(e *engine) gobreaker.Settings {
	s := b.settings
	trips := s.ReadyToTrip
	if trips == nil { // gobreaker's default, which it keeps to itself
		trips = func(c gobreaker.Counts) bool { return c.ConsecutiveFailures > 5 }
	}
	s.IsExcluded = func(err error) bool { return err == errNeutral }
	s.IsSuccessful = func(err error) bool {
		if err != nil {
			e.last = err
		}
		if b.counted != nil && b.engine.Load() == e {
			b.counted(err == nil)
		}
		return err == nil
	}
	s.ReadyToTrip = func(c gobreaker.Counts) bool {
		if !trips(c) {
			return false
		}
		e.reason = because(c)
		return true
	}
	s.OnStateChange = func(_ string, from, to gobreaker.State) {
		switch to {
		case gobreaker.StateOpen:
			if from == gobreaker.StateHalfOpen {
				e.reason = "a failed probe" // on which ReadyToTrip is not asked
			}
			// Gobreaker took its own time a moment ago, and wants it exceeded.
			until := time.Now().Add(b.openPeriod).Add(1)
			e.phase.Store(&phase{to, until, e.reason, e.last})
		case gobreaker.StateHalfOpen:
			e.phase.Store(&phase{state: to, reason: e.reason, last: e.last})
		case gobreaker.StateClosed:
			e.phase.Store(nil)
		}
		b.changes.add(e, to)
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
