// Package concurrency bounds how many calls are under way at once: a bulkhead.
//
// A ship's bulkheads keep a leak in one hold out of the others (Michael Nygard,
// "Release It!"). Calls to a service that hangs pile up, and each one holds
// memory, a connection, perhaps a lock. With a limit they fill their own hold
// and no other: what the process does besides goes on.
//
// A limit also bounds a rate. By Little's law, calls under way = calls a second
// × seconds a call, so the limit for a service that answers in 20 ms and is to
// get 500 calls a second is 10, and some for the variance. A rate limiter says
// the 500 itself; only this layer notices when the 20 ms become two seconds.
//
// A call that finds no free place waits, first come, first served. The queue is
// bounded, by Options.MaxQueue and Options.MaxWait; beyond them calls are
// refused with an error that is [ErrFull]. Keep it short: a queue that is never
// empty helps nobody, and adds its length to every call. A call whose context
// ends gives up its turn.
//
// A place is given back however the call ends: with a panic or runtime.Goexit
// too.
//
// In a stack the layer belongs above the retry, so that it counts calls and not
// attempts, and below the timeout of the whole call, which bounds the wait:
//
//	timeout → concurrency → retry → rate limit → breaker → timeout of an attempt → service
//
// What waits here does not know whether the services below are ready. To refuse
// calls while they are not, put loadshed above.
package concurrency

import (
	"context"
	"time"

	"github.com/turretgo/turret"
)

// Layer lets so many calls through at a time as o says. It panics with
// o.Validate's error if there is one.
//
// The layer makes a fresh [Limit] each time it wraps a service, so two services
// have a limit each, unless they share o.Limit.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		limit := o.limit()
		return &service[Req, Resp]{
			next:     next,
			limit:    limit,
			maxQueue: o.maxQueue(),
			maxWait:  o.MaxWait,
			onWait:   o.OnWait,
			line:     o.describe(limit),
			below:    []any{next},
		}
	}
}

type service[Req, Resp any] struct {
	next     turret.Service[Req, Resp]
	limit    *Limit
	maxQueue int
	maxWait  time.Duration
	onWait   func(context.Context, Wait)
	line     string
	below    []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	waited, err := s.limit.acquire(ctx, s.maxQueue, s.maxWait)
	if err != nil {
		s.tell(ctx, Wait{waited, err})
		var none Resp
		return none, err
	}
	defer s.limit.release()
	if waited > 0 || s.onWait != nil {
		s.tell(ctx, Wait{waited, nil})
	}
	return s.next.Call(ctx, req)
}

// tell tells OnWait and the call's observers how it got its place, or did not.
func (s *service[Req, Resp]) tell(ctx context.Context, w Wait) {
	if s.onWait != nil {
		s.onWait(ctx, w)
	}
	if w.Waited > 0 {
		turret.Report(ctx, turret.Event{Layer: "concurrency", Kind: turret.EventWait, Delay: w.Waited})
	}
	if w.Err != nil && turret.Outcome(ctx, w.Err) != turret.Canceled {
		turret.Report(ctx, turret.Event{Layer: "concurrency", Kind: turret.EventRefuse, Err: w.Err})
	}
}

// Ready says whether a call made now would find a place, be it in the queue.
func (s *service[Req, Resp]) Ready() error { return s.limit.check(s.maxQueue) }

func (s *service[Req, Resp]) String() string { return s.line }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }
