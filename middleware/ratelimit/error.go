package ratelimit

import (
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/internal/rounded"
)

// ErrLimited is what every refusal of a limiter is, for errors.Is.
var ErrLimited = errors.New("ratelimit: over the limit")

// Error is a refusal: no token can be had in the time that the call has. It is
// ErrLimited, and of class [turret.Rejected]: the service was not reached.
type Error struct {
	// Wait is how long until a token is expected, counted from the refusal and
	// behind all who wait already. Zero if the limiter cannot tell.
	Wait time.Duration

	// Patience is how long the call could have waited.
	Patience time.Duration
}

func (e *Error) Error() string {
	if e.Wait <= 0 {
		return ErrLimited.Error()
	}
	return fmt.Sprintf("%v: a token is expected in %v, and the call waits %v at most", ErrLimited, rounded.Duration(e.Wait), rounded.Duration(e.Patience))
}

// Is makes every Error an ErrLimited.
func (e *Error) Is(target error) bool { return target == ErrLimited }

// Class is Rejected.
func (e *Error) Class() turret.Class { return turret.Rejected }

// RetryAfter is Wait, for [turret.RetryAfter].
func (e *Error) RetryAfter() (time.Duration, bool) { return e.Wait, e.Wait > 0 }
