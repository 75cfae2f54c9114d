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
	Waiting int           // calls in the queue
	Waited  time.Duration // how long this one waited; 0 if the queue had no room for it
	Wait    time.Duration // see RetryAfter
}

// Error reads as in
//
//	adaptive: over the limit: at most 20 under way for now, 1024 waiting
func (e *Error) Error() string {
	text := fmt.Sprintf("%v: at most %d under way for now, %d waiting", ErrLimited, e.Limit, e.Waiting)
	if e.Waited > 0 {
		text += fmt.Sprintf(", and this one's turn did not come in %v", e.Waited)
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
