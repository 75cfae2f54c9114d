package adaptive

import (
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
)

// ErrLimited is what every refusal of a limit is, for errors.Is.
var ErrLimited = errors.New("adaptive: over the limit")

// Error is a refusal: the limit is reached, and the call may not wait, or has
// waited in vain. It is [ErrLimited], and of class [turret.Rejected]: the service
// was not reached.
type Error struct {
	Limit   int           // the limit at the time, in calls under way
	Waiting int           // calls that were waiting
	Waited  time.Duration // how long this one had waited
	Wait    time.Duration // see RetryAfter
}

// Error reads as in
//
//	adaptive: over the limit, which is 20 under way for now, and 1000 wait already
func (e *Error) Error() string {
	text := fmt.Sprintf("%v, which is %d under way for now", ErrLimited, e.Limit)
	switch {
	case e.Waited > 0:
		text += fmt.Sprintf(", and none ended for this one in %v", e.Waited)
	case e.Waiting > 0:
		text += fmt.Sprintf(", and %d wait already", e.Waiting)
	}
	return text
}

// Is makes every Error an ErrLimited.
func (e *Error) Is(target error) bool { return target == ErrLimited }

// Class is Rejected.
func (e *Error) Class() turret.Class { return turret.Rejected }

// RetryAfter returns Wait: when, at the present pace, all who wait will have had
// their turn. There is none before the first window has ended.
func (e *Error) RetryAfter() (time.Duration, bool) { return e.Wait, e.Wait > 0 }
