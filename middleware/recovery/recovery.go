// Package recovery turns a panic into an error that carries its stack.
//
// A panic that nobody recovers ends the program, and with it every call under
// way. Between services that is seldom wanted: one request that finds a bug
// should cost its caller an error and the others nothing. It is what net/http
// does for the handler of each request, and tower-http's catch-panic.
//
// In a stack it belongs at the bottom, around the service that may panic:
//
//	timeout → retry → breaker → timeout → recovery → service
//
// There the layers above get an error to act on, and the stack in it is that of
// the goroutine that panicked. At the top it guards the layers too, but a panic
// that a layer carried over from a goroutine of its own has lost its stack there.
//
// A recovered panic is a bug, and counts as a failure: see [Error.Class]. What it
// left behind, a lock held or a map half written, is left behind; only panics of
// code that can bear it should be recovered. Fatal errors of the runtime, such as
// concurrent map writes, are not panics and end the program as ever, and
// runtime.Goexit is none either: it goes on.
package recovery

import (
	"context"

	"github.com/turretgo/turret"
)

// Options configure a recovery. The zero Options are ready to use.
type Options struct {
	// OnPanic, if set, is called with each panic that was recovered, in the
	// goroutine that panicked. A panic should be heard of even where a retry
	// above makes a success of the call; this is where to log e.Stack.
	OnPanic func(ctx context.Context, e *Error)
}

// Validate says what is wrong with o, if anything is. No Options are invalid.
func (o Options) Validate() error { return nil }

// Layer returns an [*Error] for a call that panics. It recovers what happens in
// the caller's goroutine, and not in those that a service starts. The layer has
// no state.
//
// Every panic is recovered, also one that is meant as a signal, such as
// http.ErrAbortHandler: errors.Is finds it in the error, so that whoever is at
// the top can panic with it again.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return &service[Req, Resp]{next, o.OnPanic, []any{next}}
	}
}

type service[Req, Resp any] struct {
	next    turret.Service[Req, Resp]
	onPanic func(context.Context, *Error)
	below   []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	returned := false
	defer func() {
		if !returned {
			err = s.caught(ctx, recover())
		}
	}()
	resp, err = s.next.Call(ctx, req)
	returned = true
	return resp, err
}

// caught returns the error of a call that did not return. Without a value, that
// was a Goexit, which no error holds up, or else a panic(nil) under
// GODEBUG=panicnil=1, which must not pass for a success.
func (s *service[Req, Resp]) caught(ctx context.Context, value any) error {
	e := newError(value)
	if value == nil {
		return e
	}
	if s.onPanic != nil {
		s.onPanic(ctx, e)
	}
	turret.Report(ctx, turret.Event{Layer: "recovery", Kind: turret.EventPanic, Err: e})
	return e
}

func (s *service[Req, Resp]) String() string { return "recovery" }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }
