package buffer

import (
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
)

// What errors.Is finds in a [*FullError] and in a [*ClosedError].
var (
	ErrFull   = errors.New("buffer: full")
	ErrClosed = errors.New("buffer: closed")
)

// FullError refuses a call for which the buffer had no room.
type FullError struct {
	Capacity int           // how many requests may wait, and did
	Waited   time.Duration // how long the call waited for room
}

func (e *FullError) Error() string {
	text := fmt.Sprintf("%v: the handler is busy, and its queue of %d has no room", ErrFull, e.Capacity)
	if e.Waited > 0 {
		text += fmt.Sprintf(" in %v", e.Waited)
	}
	return text
}

// Is makes every FullError an ErrFull.
func (e *FullError) Is(target error) bool { return target == ErrFull }

// Class is Rejected.
func (e *FullError) Class() turret.Class { return turret.Rejected }

// ClosedError is the error of a call that the worker will not serve any more.
// It unwraps to Cause.
type ClosedError struct {
	// Cause is why. It is nil after Close and Shutdown, and what Abort was told;
	// a [*PanicError] or [ErrGoexit] where the handler ended the worker.
	Cause error

	// UnderWay tells that the handler was at this very request, and that nobody
	// knows how far it got.
	UnderWay bool

	died bool // the handler ended the worker, and nobody meant it to
}

func (e *ClosedError) Error() string {
	text := ErrClosed.Error()
	if e.UnderWay {
		text += " while the handler was at this request"
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Is makes every ClosedError an ErrClosed.
func (e *ClosedError) Is(target error) bool { return target == ErrClosed }

// Unwrap returns the cause.
func (e *ClosedError) Unwrap() error { return e.Cause }

// Class is Transient where the handler ended the worker, for a new one may do
// better, and where it was at this very request. It is Rejected otherwise: the
// buffer was closed on purpose, and the handler unreached.
func (e *ClosedError) Class() turret.Class {
	if e.died || e.UnderWay {
		return turret.Transient
	}
	return turret.Rejected
}

// ErrGoexit is the cause when the handler ended the worker's goroutine.
var ErrGoexit = errors.New("the handler ended its goroutine by runtime.Goexit")

// PanicError is the cause when the handler panicked.
type PanicError struct {
	Value any    // what it panicked with
	Stack []byte // where, as debug.Stack prints it
}

func (e *PanicError) Error() string { return fmt.Sprintf("the handler panicked: %v", e.Value) }

// Unwrap returns the panic's value, if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
