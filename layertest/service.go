package layertest

import (
	"context"
	"runtime"
	"sync/atomic"

	"github.com/turretgo/turret"
)

// service is what a run's layer is wrapped around.
type service[Req, Resp any] struct {
	answer   turret.ServiceFunc[Req, Resp]
	notReady error

	calls, underWay, closed atomic.Int64
}

const serviceLine = "layertest service"

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	s.calls.Add(1)
	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	return s.answer(ctx, req)
}

func (s *service[Req, Resp]) Ready() error   { return s.notReady }
func (s *service[Req, Resp]) String() string { return serviceLine }
func (s *service[Req, Resp]) Close() error   { s.closed.Add(1); return nil }

// responding answers every call with the nth response.
func (tr *trial[Req, Resp]) responding(n int) *service[Req, Resp] {
	return &service[Req, Resp]{answer: func(context.Context, Req) (Resp, error) { return tr.samples.Response(n), nil }}
}

// failing answers every call with err.
func (tr *trial[Req, Resp]) failing(err error) *service[Req, Resp] {
	return &service[Req, Resp]{answer: func(context.Context, Req) (resp Resp, _ error) { return resp, err }}
}

// hanging answers no call before its context is done.
func (tr *trial[Req, Resp]) hanging() *service[Req, Resp] {
	return &service[Req, Resp]{answer: tr.hang}
}

func (tr *trial[Req, Resp]) hang(ctx context.Context, _ Req) (resp Resp, _ error) {
	select {
	case <-ctx.Done():
		return resp, ctx.Err()
	case <-tr.over:
		return resp, turret.WithClass(context.Canceled, turret.Permanent)
	}
}

// temper is how a service that can be told ends its next calls.
type temper int32

const (
	well temper = iota
	panics
	exits
	fails
	hangs
)

// tempered answers as it is told.
func (tr *trial[Req, Resp]) tempered(mood *atomic.Int32) *service[Req, Resp] {
	return &service[Req, Resp]{answer: func(ctx context.Context, req Req) (resp Resp, _ error) {
		switch temper(mood.Load()) {
		case panics:
			panic(errPanic)
		case exits:
			runtime.Goexit()
		case fails:
			return resp, newFault(turret.Transient)
		case hangs:
			return tr.hang(ctx, req)
		}
		return tr.samples.Response(1), nil
	}}
}
