package fallback

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/turretgo/turret"
)

// ErrFailed is what errors.Is finds in every [*Error].
var ErrFailed = errors.New("fallback: the fallback failed too")

// Error is the error of a call that neither the service nor its fallback
// answered. It unwraps to what both said.
type Error struct {
	Err      error // what the service said
	Fallback error // what the fallback said
	classes  [2]turret.Class
}

func (e *Error) Error() string {
	return fmt.Sprintf("fallback: %v; and the fallback failed too: %v", e.Err, e.Fallback)
}

// Is makes every Error an ErrFailed.
func (e *Error) Is(target error) bool { return target == ErrFailed }

// Unwrap returns what the service and the fallback said.
func (e *Error) Unwrap() []error { return []error{e.Err, e.Fallback} }

// Class is Canceled if the caller went away, and otherwise the first of
// Transient, Unknown, Throttled and Rejected that is among the two: as long as
// one of them may answer the next time, the call may succeed.
func (e *Error) Class() turret.Class {
	for _, c := range []turret.Class{turret.Canceled, turret.Transient, turret.Unknown, turret.Throttled, turret.Rejected} {
		if slices.Contains(e.classes[:], c) {
			return c
		}
	}
	return turret.Permanent
}

// RetryAfter is the sooner of what the two asked for. There is none when one of
// them may answer at once, and asked for nothing.
func (e *Error) RetryAfter() (sooner time.Duration, ok bool) {
	for i, err := range e.Unwrap() {
		after, asked := turret.RetryAfter(err)
		switch {
		case e.classes[i] == turret.Permanent:
		case !asked:
			return 0, false
		case !ok || after < sooner:
			sooner, ok = after, true
		}
	}
	return sooner, ok
}
