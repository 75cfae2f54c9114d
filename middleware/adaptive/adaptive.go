// Package adaptive limits how many calls are under way at once, and finds that
// limit itself, from how long calls take.
//
// Little's law says that calls under way = calls a second × the time each takes.
// A service that can work on C calls at once answers as fast with one of them as
// with C. Beyond that, more calls make nothing go faster: they queue inside the
// service, and all that grows is the time each takes. So latency tells where C
// is. If calls take 1.5 times as long as they do without a queue, a third of
// those under way are only waiting, and the limit can fall by that much and cost
// no throughput.
//
// TCP Vegas found the capacity of a line so (Brakmo and Peterson, 1995), and
// FAST TCP gave it the form used here (Jin, Wei and Low, 2004). Netflix's
// concurrency-limits brought it to calls:
//
//	limit = limit × tolerance × unloaded latency ÷ latency + a small queue
//
// The first factor never exceeds 1, and the queue is half the root of the limit:
// with it the limit grows where there is room. It grows only while callers use
// it up, or a quiet night would let it rise to where a busy morning finds no
// limit at all.
//
// The unloaded latency is the mean of calls when little is under way. It moves:
// a service that became slower for reasons of its own must not look overloaded
// for ever. When latency has been high for a while, or has cost half the limit,
// the layer finds out which of the two it is as TCP BBR does (Cardwell et al.,
// 2016): for two windows it lets in half of what the service can work on, and
// measures.
//
// # What counts
//
// A call counts by its [turret.Outcome]:
//
//	answer     success, Permanent: how long it took is measured
//	overload   Throttled; a Transient that is a context.DeadlineExceeded, such as a timeout below
//	neither    Canceled, Rejected, and all other errors: what fails at once is not fast
//
// Overload lowers the limit by half of its share of the calls, as in DCTCP: to a
// half where every call was refused, by 5% where every tenth was.
//
// # Where in the stack
//
// Close to the service, for what is above adds to what is measured: below the
// retry, whose backoff is no latency, and the rate limit, whose tokens take
// time; one for each replica, below the failover; above the timeout of each
// attempt, whose expiry is the sign of overload that it waits for:
//
//	timeout → retry → failover → rate limit → adaptive → breaker → timeout of an attempt → service
//
// Without that last timeout, calls that hang end when their callers go away,
// which counts as nothing.
package adaptive

import (
	"context"
	"errors"
	"time"

	"github.com/turretgo/turret"
)

// Layer returns the layer that o describes. It panics with o.Validate's error
// if there is one.
//
// The layer makes a fresh [Limit] each time it wraps a service; see [Share] for
// one in several stacks.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return newService(New(o), next)
	}
}

// Share returns a layer on a Limit that the caller made with [New]. The calls of
// all services that it wraps, in stacks of whatever types, count against it
// together: fit for several operations on one endpoint that take about as long.
func Share[Req, Resp any](l *Limit) turret.Layer[Req, Resp] {
	if l == nil || l.o.Max == 0 {
		panic("adaptive: Share of a Limit that is nil or zero; make one with adaptive.New")
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return newService(l, next)
	}
}

type service[Req, Resp any] struct {
	limit *Limit
	next  turret.Service[Req, Resp]
	ready func() error
	below []any
}

func newService[Req, Resp any](l *Limit, next turret.Service[Req, Resp]) *service[Req, Resp] {
	return &service[Req, Resp]{l, next, func() error { return turret.Ready(next) }, []any{next}}
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	waited, err := s.limit.acquire(ctx, s.ready)
	if err != nil {
		report(ctx, waited, err)
		return resp, err
	}
	began, says := s.limit.now(), nothing // which is what a panic says, or a Goexit
	defer func() { s.limit.end(began, says) }()
	if waited > 0 {
		report(ctx, waited, nil)
	}
	resp, err = s.next.Call(ctx, req)
	says = judge(ctx, err)
	return resp, err
}

// report tells the call's observers of its wait, and of its refusal with err.
func report(ctx context.Context, waited time.Duration, err error) {
	if waited > 0 {
		turret.Report(ctx, turret.Event{Layer: "adaptive", Kind: turret.EventWait, Delay: waited})
	}
	if err != nil && turret.Outcome(ctx, err) != turret.Canceled {
		turret.Report(ctx, turret.Event{Layer: "adaptive", Kind: turret.EventRefuse, Err: err})
	}
}

// Ready says whether a call would be let in now, or may wait for it.
func (s *service[Req, Resp]) Ready() error   { return s.limit.ready() }
func (s *service[Req, Resp]) String() string { return s.limit.String() }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }

// verdict is what a call says of the service's load.
type verdict uint8

const (
	nothing  verdict = iota
	answer           // by the time it took
	overload         // of itself
)

func judge(ctx context.Context, err error) verdict {
	if err == nil {
		return answer
	}
	switch turret.Outcome(ctx, err) {
	case turret.Permanent:
		return answer
	case turret.Throttled:
		return overload
	case turret.Transient:
		if errors.Is(err, context.DeadlineExceeded) {
			return overload
		}
	}
	return nothing
}
