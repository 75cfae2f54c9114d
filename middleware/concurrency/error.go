package concurrency

import (
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
)

// ErrFull is what every refusal of this layer is, for errors.Is.
var ErrFull = errors.New("concurrency: full")

// Error is a refusal: no place was free, and none to wait for one, or none came
// free within Options.MaxWait. It is ErrFull, and of class [turret.Rejected]:
// the service was not reached. It has no RetryAfter, for nobody knows when the
// calls under way will end.
type Error struct {
	Max     int           // calls under way: all that may be
	Waiting int           // calls in the queue
	Waited  time.Duration // how long this one waited; 0 if the queue had no room for it
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%v: %d under way, %d waiting", ErrFull, e.Max, e.Waiting)
	if e.Waited > 0 {
		text += fmt.Sprintf(", and no place came free in %v", e.Waited)
	}
	return text
}

// Is makes every Error an ErrFull.
func (e *Error) Is(target error) bool { return target == ErrFull }

// Class is Rejected.
func (e *Error) Class() turret.Class { return turret.Rejected }
