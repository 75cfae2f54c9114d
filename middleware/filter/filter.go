// Package filter shows each request to a predicate before the service sees it.
// The predicate refuses the request, or passes it on, as it is or rewritten.
//
// It is what Tower calls a filter, and the place for rules about requests: which
// tenant may ask for what, how large a request may be, a default filled in.
//
// In a stack it belongs at the top, above what counts calls or spends something
// on them:
//
//	filter → timeout → retry → rate limit → breaker → timeout → service
//
// There a request is judged once and not at every attempt, and one that is
// refused costs no token. Below a breaker a filter does harm: a refusal is as a
// rule Permanent, which a breaker takes for an answer of a healthy service, and
// the service was not asked.
//
// To convert requests to another type, there is [turret.MapRequest].
package filter

import (
	"context"
	"errors"

	"github.com/turretgo/turret"
)

// ErrRefused is what errors.Is finds in every [*Error].
var ErrRefused = errors.New("filter: request refused")

// Error is the refusal of a request. The service was not called.
type Error struct {
	Err   error // what the predicate said
	class turret.Class
}

func (e *Error) Error() string { return ErrRefused.Error() + ": " + e.Err.Error() }

// Unwrap returns what the predicate said.
func (e *Error) Unwrap() error { return e.Err }

// Is makes every Error an ErrRefused.
func (e *Error) Is(target error) bool { return target == ErrRefused }

// Class is that of the predicate's error, or Permanent where that has none: the
// same request would be refused again.
func (e *Error) Class() turret.Class { return e.class }

// Layer gives the service the requests that check returns, and refuses those for
// which it returns an error. It panics if check is nil.
//
// A refusal is an [*Error]. Where check itself failed rather than refused, as
// when it asks another service, it returns an error that says so by its class.
// Once the caller has gone, check's error comes back unchanged.
//
// Check is called concurrently, with the call's context, and returns soon after
// that is done. It does not change what req points to, which is the caller's: to
// rewrite a request is to return another. The layer has no state.
func Layer[Req, Resp any](check func(ctx context.Context, req Req) (Req, error)) turret.Layer[Req, Resp] {
	if check == nil {
		panic("filter: Layer needs a predicate; it was given nil")
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return &service[Req, Resp]{next, check, []any{next}}
	}
}

type service[Req, Resp any] struct {
	next  turret.Service[Req, Resp]
	check func(context.Context, Req) (Req, error)
	below []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	req, err := s.check(ctx, req)
	if err != nil {
		err = refusal(ctx, err)
		report(ctx, err)
		var none Resp
		return none, err
	}
	return s.next.Call(ctx, req)
}

func (s *service[Req, Resp]) String() string { return "filter" }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }

// report tells the call's observers of a refusal. That the caller has gone is none.
func report(ctx context.Context, err error) {
	if refusal, ok := err.(*Error); ok {
		turret.Report(ctx, turret.Event{Layer: "filter", Kind: turret.EventRefuse, Err: refusal})
	}
}

// refusal is the error of a call whose request the predicate refused with err.
func refusal(ctx context.Context, err error) error {
	switch class := turret.Outcome(ctx, err); class {
	case turret.Canceled:
		return err
	case turret.Unknown:
		return &Error{err, turret.Permanent}
	default:
		return &Error{err, class}
	}
}
