package layertest

import (
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
)

// errPanic is what services of a run panic with.
var errPanic = errors.New("layertest: a panic")

// fault is an error of a run's services. Each is itself only.
type fault struct {
	class turret.Class
	after time.Duration
}

func newFault(c turret.Class) *fault { return &fault{class: c} }

func (f *fault) Error() string                     { return fmt.Sprintf("layertest: an error of class %v", f.class) }
func (f *fault) Class() turret.Class               { return f.class }
func (f *fault) RetryAfter() (time.Duration, bool) { return f.after, f.after > 0 }

// faultClasses are those that an error of a service can have.
var faultClasses = []turret.Class{turret.Unknown, turret.Transient, turret.Throttled, turret.Permanent, turret.Rejected}
