// Package loadshed refuses calls at once while the services below cannot take
// them, before anything was spent on them.
//
// A service that is overloaded and goes on to accept calls does work for callers
// who will have gone by the time it is done, and falls further behind. Better
// to answer a few well and the rest at once ("Addressing Cascading Failures",
// Site Reliability Engineering). The layer is Tower's load_shed: it asks
// [turret.Ready] of what is below, and refuses with [ErrOverloaded] unless all
// of it is ready, or of a fan-out any replica.
//
// # Waiting
//
// In Tower a service that would have to wait is not ready. Here waiting happens
// inside Call, and a layer is ready while it would take a call at all, be it
// into its queue: it refuses, and is not ready, when the queue is full. So it
// is each queue's own bound that decides when load is shed, such as MaxQueue of
// the concurrency layer and MaxWait of the rate limit; without a bound, nothing
// is. To shed all that would have to wait, have those layers not queue at all.
//
// Such layers refuse by themselves, but only those calls that have come down to
// them. Seen from here they refuse before a retry has waited, a hedge has
// doubled the call, or a limiter further up has spent a token.
//
// Ready is a hint. Calls that it let through may find that the last place has
// just gone; the error is then that layer's, and of class Rejected like those
// from here.
//
// # Where in the stack
//
// At the top, where a refusal saves the most. Not above a retry that waits out
// refusals (WaitRejected): there is nothing left for that to wait out.
//
//	loadshed → timeout → concurrency → retry → rate limit → breaker → service
package loadshed

import (
	"context"
	"errors"
	"time"

	"github.com/turretgo/turret"
)

// ErrOverloaded is what every refusal of this layer is, for errors.Is.
var ErrOverloaded = errors.New("loadshed: overloaded")

// Error is a refusal. It is ErrOverloaded, and of class [turret.Rejected].
type Error struct {
	Err error // what is not ready, or what Options.Check said
}

func (e *Error) Error() string { return ErrOverloaded.Error() + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Is makes every Error an ErrOverloaded.
func (e *Error) Is(target error) bool { return target == ErrOverloaded }

// Class is Rejected, whatever the reason's is: the service was not reached.
func (e *Error) Class() turret.Class { return turret.Rejected }

// RetryAfter is the reason's.
func (e *Error) RetryAfter() (time.Duration, bool) { return turret.RetryAfter(e.Err) }

// Options configure [Layer]. The zero Options are ready to use.
type Options struct {
	// Check, if set, tells of load that the services below do not know of: of
	// memory, of a queue elsewhere, of a deadline too near for the call to make.
	// It is asked when they are ready, once a call, and its error sheds the
	// call. Ctx is the call's, so that what matters more can be shed later; it
	// is the background context when the layer is asked whether it is ready.
	//
	// It does not block, and is safe for concurrent use.
	Check func(ctx context.Context) error
}

// Validate says what is wrong with o, if anything is. No Options are invalid.
func (o Options) Validate() error { return nil }

// Layer sheds calls that what is below is not ready for. It has no state.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return &service[Req, Resp]{next: next, check: o.Check, below: []any{next}}
	}
}

type service[Req, Resp any] struct {
	next  turret.Service[Req, Resp]
	check func(context.Context) error
	below []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	if err := s.overload(ctx); err != nil {
		err = &Error{err}
		if turret.Outcome(ctx, err) != turret.Canceled {
			turret.Report(ctx, turret.Event{Layer: "loadshed", Kind: turret.EventRefuse, Err: err})
		}
		var none Resp
		return none, err
	}
	return s.next.Call(ctx, req)
}

// overload returns why a call is not to be made, or nil.
func (s *service[Req, Resp]) overload(ctx context.Context) error {
	if err := turret.Ready(s.next); err != nil {
		return err
	}
	if s.check == nil {
		return nil
	}
	return s.check(ctx)
}

// Ready says what Check does. Those below speak for themselves.
func (s *service[Req, Resp]) Ready() error {
	if s.check == nil {
		return nil
	}
	if err := s.check(context.Background()); err != nil {
		return &Error{err}
	}
	return nil
}

func (s *service[Req, Resp]) String() string {
	if s.check != nil {
		return "load shed, with a check"
	}
	return "load shed"
}

func (s *service[Req, Resp]) Unwrap() []any { return s.below }
