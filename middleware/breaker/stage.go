package breaker

import (
	"context"
	"errors"
)

// stage is how far a call got in gobreaker's Execute.
//
// Execute accounts for a call that returns and for one that panics, but not for
// runtime.Goexit, which unwinds it unnoticed: a probe that ended so would keep
// its place, and the breaker half-open, for ever. So a Goexit passes through
// Execute in the shape of a panic.
type stage uint8

const (
	notAdmitted stage = iota
	underWay
	returned
	exiting
)

var errGoexit = errors.New("the call ended its goroutine with runtime.Goexit")

// insideExecute, deferred in the function that Execute calls, lets Execute see a
// Goexit as a panic. A panic of the call's own goes on as it was.
func (at *stage) insideExecute() {
	if *at == returned {
		return
	}
	if value := recover(); value != nil {
		panic(value)
	}
	*at = exiting
	panic(errGoexit)
}

// afterExecute, deferred around it, takes that panic back, upon which the runtime
// goes on with the Goexit. However the call ended, gobreaker holds no lock now,
// and changes of state can be delivered.
func (at *stage) afterExecute(ctx context.Context, changes *changes) {
	if *at == exiting {
		_ = recover()
	}
	changes.deliver(ctx)
}
