package breaker

import (
	"context"
	"errors"

	"github.com/turretgo/turret"
)

type service[Req, Resp any] struct {
	breaker *Breaker
	next    turret.Service[Req, Resp]
	below   []any
}

func newService[Req, Resp any](b *Breaker, next turret.Service[Req, Resp]) *service[Req, Resp] {
	return &service[Req, Resp]{b, next, []any{next}}
}

// Call calls next, unless the breaker refuses. It allocates nothing of its own
// when it admits: gobreaker's two-step breaker would read better here, but makes
// a closure on the heap for every call.
func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	var at stage
	var watched bool
	defer at.afterExecute(ctx, &s.breaker.changes)
	e := s.breaker.engine.Load()
	_, refused := e.Execute(func() (none struct{}, _ error) {
		at = underWay
		defer at.insideExecute()
		s.breaker.changes.deliver(ctx) // half-open is told before the probe, not after it
		if p := e.phase.Load(); s.breaker.patience > 0 && p.isHalfOpen() {
			watched = true
			defer s.breaker.watch(e, p)()
		}
		resp, err = s.next.Call(ctx, req)
		at = returned
		return none, verdict(ctx, err)
	})
	if at == notAdmitted {
		if s.breaker.halfOpen(e) {
			return s.Call(ctx, req)
		}
		err = s.breaker.refusal(stateThat(refused))
		turret.Report(ctx, turret.Event{Layer: "breaker", Kind: turret.EventRefuse, Name: s.breaker.name, Err: err})
		return resp, err
	}
	if watched && e.overdue.Load() && verdict(ctx, err) == nil {
		s.breaker.closeLate(e) // delivered like any change, on the way out
	}
	return resp, err
}

func (s *service[Req, Resp]) Ready() error   { return s.breaker.ready() }
func (s *service[Req, Resp]) String() string { return s.breaker.String() }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }

// errNeutral tells gobreaker that a call's result counts neither way.
var errNeutral = errors.New("breaker: does not count")

// verdict is what gobreaker is told of an error: nil for a success, errNeutral,
// or the error itself, which is then a failure.
func verdict(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	switch turret.Outcome(ctx, err) {
	case turret.Permanent:
		return nil
	case turret.Throttled, turret.Canceled, turret.Rejected:
		return errNeutral
	default:
		return err
	}
}
