package throttle

import (
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
)

// ErrRefused is what every refusal of this layer is, for errors.Is.
var ErrRefused = errors.New("throttle: refused here, as the service refuses too many")

// Error is a refusal. It is ErrRefused, and of class [turret.Rejected]: the
// service was not reached. It has no RetryAfter, for a call made at once may go
// through as well as one made later.
type Error struct {
	Requests    int64         // calls in the window, those included that were refused here
	Accepts     int64         // how many of them the service accepted
	Window      time.Duration // how long a call is remembered
	Probability float64       // of this refusal
}

// Error reads as in
//
//	throttle: refused here, as the service refuses too many: it accepted 3 of 120 calls in 10s, so 94% of calls are not made
func (e *Error) Error() string {
	return fmt.Sprintf("%v: it accepted %d of %d calls in %v, so %.0f%% of calls are not made",
		ErrRefused, e.Accepts, e.Requests, e.Window, 100*e.Probability)
}

// Is makes every Error an ErrRefused.
func (e *Error) Is(target error) bool { return target == ErrRefused }

// Class is Rejected.
func (e *Error) Class() turret.Class { return turret.Rejected }
