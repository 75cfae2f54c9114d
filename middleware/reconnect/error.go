package reconnect

import (
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/internal/rounded"
)

// ErrBackoff is what errors.Is finds in every [*BackoffError].
var ErrBackoff = errors.New("reconnect: no connection, and too soon to try again")

// ErrClosed is the error of calls after Close. Its class is Rejected.
var ErrClosed = turret.WithClass(errors.New("reconnect: closed"), turret.Rejected)

// BackoffError refuses a call: there is no connection, and it is too soon for
// another attempt to make one.
type BackoffError struct {
	Wait     time.Duration // until the next attempt, counted from the refusal
	Failures int           // in a row
	// Last is the error that this is about. It is not unwrapped: it was another
	// call's, and this one has reached nothing.
	Last error
}

// Error reads as in
//
//	reconnect: no connection for another 3.2s after 5 failures; the last: connection refused
func (e *BackoffError) Error() string {
	text := fmt.Sprintf("reconnect: no connection for another %v", rounded.Duration(e.Wait))
	if e.Failures > 1 {
		text += fmt.Sprintf(" after %d failures; the last", e.Failures)
	}
	return text + ": " + e.Last.Error()
}

// Is makes every BackoffError an ErrBackoff.
func (e *BackoffError) Is(target error) bool { return target == ErrBackoff }

// Class is Rejected.
func (e *BackoffError) Class() turret.Class { return turret.Rejected }

// RetryAfter is Wait: a call made then connects.
func (e *BackoffError) RetryAfter() (time.Duration, bool) { return e.Wait, true }

// What stands for an error where there is none.
var (
	errNothing  = errors.New("connect returned neither a service nor an error")
	errPanicked = errors.New("the call panicked, or ended its goroutine")
)
