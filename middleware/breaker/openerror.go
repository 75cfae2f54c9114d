package breaker

import (
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/internal/rounded"
)

// ErrOpen is what errors.Is finds in every refusal of a breaker, open or
// half-open.
var ErrOpen = errors.New("breaker: open")

// OpenError is the refusal of a call: the service was not called. Errors.Is
// finds [ErrOpen] in it, and gobreaker's ErrOpenState or ErrTooManyRequests.
type OpenError struct {
	Name   string          // Settings.Name
	State  gobreaker.State // StateOpen, or StateHalfOpen when its probes are under way
	Wait   time.Duration   // see RetryAfter
	Reason string          // why it opened, as in "6 consecutive failures"
	// Last is the failure that opened it. It is not unwrapped: this call had no
	// timeout and lost no connection, whatever an earlier one did.
	Last error
}

// Error reads as in
//
//	breaker kms/eu-west-1: open for another 3.2s after 6 consecutive failures; the last: connection refused
func (e *OpenError) Error() string {
	text := title(e.Name) + ": "
	if e.State == gobreaker.StateHalfOpen {
		text += fmt.Sprintf("half-open, waiting for probes to return; try again in %v; opened", rounded.Duration(e.Wait))
	} else {
		text += fmt.Sprintf("open for another %v", rounded.Duration(e.Wait))
	}
	if e.Reason != "" {
		text += " after " + e.Reason
	}
	if e.Last != nil {
		text += "; the last: " + e.Last.Error()
	}
	return text
}

// Is tells errors.Is that e is a refusal of this package, and of gobreaker's.
func (e *OpenError) Is(target error) bool {
	switch target {
	case ErrOpen:
		return true
	case gobreaker.ErrOpenState:
		return e.State == gobreaker.StateOpen
	case gobreaker.ErrTooManyRequests:
		return e.State == gobreaker.StateHalfOpen
	}
	return false
}

// Class returns [turret.Rejected].
func (e *OpenError) Class() turret.Class { return turret.Rejected }

// RetryAfter returns Wait. Of an open breaker that is the time until it is
// half-open: a call made exactly then finds it so. Of a half-open one, nobody
// knows when its probes return, and Wait is a guess: a tenth of the time for
// which the breaker opens, and a second at most.
func (e *OpenError) RetryAfter() (time.Duration, bool) { return e.Wait, true }

// refusal returns the error of a call that a breaker in state refused.
func (b *Breaker) refusal(state gobreaker.State) *OpenError {
	e := &OpenError{Name: b.name, State: state}
	if state == gobreaker.StateHalfOpen {
		e.Wait = min(b.openPeriod/10, time.Second)
	}
	// Since the refusal the breaker may have gone on to another phase, even to
	// none. Then there is nothing to wait for.
	if p := b.phase(); p != nil {
		e.Reason, e.Last = p.reason, p.last
		if state == gobreaker.StateOpen && p.state == gobreaker.StateOpen {
			e.Wait = max(0, time.Until(p.until))
		}
	}
	return e
}

// stateThat returns the state in which gobreaker refuses with err.
func stateThat(err error) gobreaker.State {
	if err == gobreaker.ErrTooManyRequests {
		return gobreaker.StateHalfOpen
	}
	return gobreaker.StateOpen
}
