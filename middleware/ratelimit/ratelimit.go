// Package ratelimit keeps calls within a quota: so many a second, and a small
// burst.
//
// It is a token bucket. Tokens arrive at the rate, the bucket holds a burst of
// them, and a call takes one. In any stretch of time, wherever it begins, no
// more than rate × time + burst calls go through: there are no windows, and so
// no double rate across the edge of two.
//
// A call that finds no token waits in a queue, first come, first served, if its
// turn comes within its context's deadline and within Options.MaxWait. If not,
// it is refused at once with an error that is [ErrLimited] and says when to
// come again: its time is worth more to a retry, or to another replica, than to
// a queue that it would leave empty-handed. A call whose context ends gives up
// its place, and the others move up.
//
// Set MaxWait well below the time that callers have. A load that stays above the
// rate makes any queue as long as it may get: one that is bounded by the callers'
// deadlines alone ends with each token going to a call that has no time left to
// use it, and next to nothing gets done though the quota is used up. A call that is
// refused early waits in the backoff of a retry instead, and one that gets a token
// has time for it.
//
// The layer asks [turret.Ready] of what is below before a call queues and again
// before it takes a token, and hands on what that says. Calls queueing for a
// breaker that is open would spend their deadlines here, and a failover above
// would learn too late that it is needed.
//
// In a stack it belongs inside the retry, so that retries cannot go past the
// quota, and outside the breaker:
//
//	timeout → retry → rate limit → breaker → timeout of an attempt → service
//
// The quota is one process's. A fleet gives each its share, finds it with
// [Adaptive], or keeps the count elsewhere behind a [Limiter] of its own.
package ratelimit

import (
	"context"
	"fmt"
	"time"

	"github.com/turretgo/turret"
)

// Layer returns the layer that o describes. It panics with o.Validate's error
// if there is one.
//
// The layer makes a fresh [TokenBucket] each time it wraps a service, so two
// stacks have a quota each, unless they share o.Limiter.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		limiter := o.limiter()
		s := &service[Req, Resp]{
			next:    next,
			limiter: asReadyWaiter(limiter),
			ready:   func() error { return unreadyIf(turret.Ready(next)) },
			maxWait: o.MaxWait,
			onWait:  o.OnWait,
			line:    o.describe(limiter),
			below:   []any{next},
		}
		s.observer, _ = limiter.(observer)
		s.checker, _ = limiter.(checker)
		return s
	}
}

type service[Req, Resp any] struct {
	next     turret.Service[Req, Resp]
	limiter  readyWaiter
	observer observer // nil where the limiter does not learn
	checker  checker  // nil where the limiter cannot tell
	ready    func() error
	maxWait  time.Duration
	onWait   func(context.Context, Wait)
	line     string
	below    []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	if err := s.wait(ctx); err != nil {
		var none Resp
		return none, err
	}
	resp, err := s.next.Call(ctx, req)
	if s.observer != nil {
		s.observer.Observe(ctx, err)
	}
	return resp, err
}

// wait gets the call a token.
func (s *service[Req, Resp]) wait(ctx context.Context) error {
	var start time.Time
	if s.onWait != nil {
		start = time.Now()
	}
	err := s.limiter.WaitReady(ctx, s.maxWait, s.ready)
	kind := turret.EventRefuse
	if u, ok := err.(unready); ok {
		kind, err = turret.EventUnready, u.error
	} else if err != nil && err == ctx.Err() {
		err = fmt.Errorf("ratelimit: no token had come yet: %w", err)
	}
	if s.onWait != nil {
		s.onWait(ctx, Wait{time.Since(start), err})
	}
	if err != nil && turret.Outcome(ctx, err) != turret.Canceled {
		turret.Report(ctx, turret.Event{Layer: "ratelimit", Kind: kind, Err: err})
	}
	return err
}

// unready is what the layers below would refuse a call with. It passes through
// the limiter, so that it is told from the limiter's own refusals.
type unready struct{ error }

func (u unready) Unwrap() error { return u.error }

func unreadyIf(err error) error {
	if err == nil {
		return nil
	}
	return unready{err}
}

// Ready says whether a call without a deadline would be let in now: it would
// not if the wait for a token is longer than MaxWait.
func (s *service[Req, Resp]) Ready() error {
	if s.checker == nil {
		return nil
	}
	return s.checker.Check(s.maxWait)
}

func (s *service[Req, Resp]) String() string { return s.line }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }
