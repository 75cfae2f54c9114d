package recovery

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/turretgo/turret"
)

// ErrPanic is what errors.Is finds in every [*Error].
var ErrPanic = errors.New("recovery: panic")

// Error is the error of a call that panicked.
type Error struct {
	Value any    // what it panicked with
	Stack []byte // the goroutine's, as runtime/debug.Stack formats it

	origin string // where it panicked
}

func newError(value any) *Error {
	return &Error{Value: value, Stack: debug.Stack(), origin: origin()}
}

// Error is one line: where it panicked, and the first line of the value. The
// rest is for who asks.
func (e *Error) Error() string {
	text := ErrPanic.Error()
	if e.origin != "" {
		text += " in " + e.origin
	}
	value, _, _ := strings.Cut(fmt.Sprint(e.Value), "\n")
	return text + ": " + value
}

// Is makes every Error an ErrPanic.
func (e *Error) Is(target error) bool { return target == ErrPanic }

// Unwrap returns Value, if that is an error. A nil dereference, an index out of
// range and the like are of type runtime.Error.
func (e *Error) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Class is that of Value, if it is an error with a class, and otherwise Unknown:
// nobody said what a bug means. So a breaker counts it as a failure, and a retry
// tries again, for many a bug is a race. Permanent would keep it from a retry,
// and hide it from the breaker as well.
func (e *Error) Class() turret.Class { return turret.Classify(e.Unwrap()) }

// origin returns the function and the line that panicked, or "" if it cannot
// tell. It is called while a [Layer]'s service recovers.
//
// Layers between may have panicked again with what they got; their frames are
// above those of the first panic, which is the last one before our own Call.
func origin() (where string) {
	var pcs [256]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	panicked := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicked = true
		case strings.HasPrefix(f.Function, "runtime."):
		case strings.HasSuffix(f.Function, "/middleware/recovery.(*service[...]).Call"):
			return where
		case panicked:
			where = fmt.Sprintf("%s (%s:%d)", f.Function, filepath.Base(f.File), f.Line)
			panicked = false
		}
		if !more {
			return where
		}
	}
}
