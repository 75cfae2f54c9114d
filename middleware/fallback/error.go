package fallback

import (
	"errors"
	"fmt"
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

// Class is that of the more hopeful of the two: see [turret.Hopeful].
func (e *Error) Class() turret.Class { return turret.Hopeful(e.classes[:]...) }

// RetryAfter is the sooner of what the two asked for: see [turret.Soonest].
func (e *Error) RetryAfter() (time.Duration, bool) { return turret.Soonest(e.Err, e.Fallback) }
