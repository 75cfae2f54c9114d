// Package hedge sends a call that is slow once more, and takes the answer that
// comes first.
//
// A service that is fast on average can be slow one time in a hundred: a packet
// lost, a collector at work, a replica with a long queue. The same call, sent
// again, most likely meets none of that. Sent only after most calls would have
// been answered, it costs a few percent of load and cuts off the tail. The idea
// is the hedged request of Jeffrey Dean and Luiz André Barroso ("The Tail at
// Scale", Communications of the ACM, 2013).
//
// The first success wins and the other calls are cancelled. A call that fails
// leaves the others running; a hedge is no retry, and an original that fails
// before there is a hedge fails the call. A Permanent error is an answer, and
// ends the call as a success does.
//
// # Which requests
//
// A hedged request may be carried out twice: put the layer only where every
// request is idempotent, or name those that are with [LayerIf]. Signing is.
//
// Calls share a request and run at the same time, and a loser may look at it for
// a moment after Call returned. Who changes afterwards what a request points to,
// such as a buffer, puts a layer above that copies it.
//
// # Where in the stack
//
// Below the retry and above the replicas, if there are several:
//
//	retry → hedge → failover or balance → … → timeout → replica
//
// What sends a call on to replicas asks [turret.Claim], so that a hedge goes to
// another one than its original. The context of a loser ends with the cause
// [turret.ErrOutrun], by which a balance knows that the replica was slow.
package hedge

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/turretgo/turret"
)

// Options configure a hedge. The zero Options are ready to use: one hedge, past
// the 95th percentile of recent successes, for 5% of the calls.
type Options struct {
	// Delay is how long a call may take before it is sent once more. 0 leaves
	// that to Percentile.
	Delay time.Duration

	// Percentile makes the delay the time in which this share of the last
	// thousand successes was answered: 0.95, which 0 means, or 0.99; 0.999 at
	// most. There are no hedges before it is known, from the first twenty
	// successes for 0.95, a hundred for 0.99. An original that lost to a hedge
	// counts as well, with the delay: it took that long at least.
	Percentile float64

	// MaxHedges is how many times more a call is sent, each a delay after the
	// one before, up to 10. 0 means 1.
	MaxHedges int

	// Budget bounds hedges across calls: a service that is slow altogether is
	// not helped by more of them. Nil means 5% of the calls that one layer's
	// service gets.
	Budget *Budget

	// OnHedge, if set, is called before a hedge is sent, and OnWin when a hedge
	// was the first to succeed; both in the caller's goroutine.
	OnHedge, OnWin func(ctx context.Context, e Event)
}

// OptionsIf are Options for requests of which only some are idempotent.
type OptionsIf[Req any] struct {
	Options

	// Idempotent reports whether a request may be carried out twice. Others
	// pass the layer as if it were not there. Nil means that all may.
	Idempotent func(req Req) bool
}

// Event is a hedge sent, or won.
type Event struct {
	Hedge int           // which hedge of its call, counted from 1
	After time.Duration // how long ago the call began
}

const maxHedges = 10

// Validate says what is wrong with o, if anything is.
func (o Options) Validate() error {
	switch {
	case o.Delay < 0:
		return fmt.Errorf("hedge: Delay is %v; it must be above zero, or 0 for a Percentile", o.Delay)
	case o.Delay > 0 && o.Percentile != 0:
		return fmt.Errorf("hedge: both Delay %v and Percentile %v are set; a delay is fixed or measured, so set one", o.Delay, o.Percentile)
	case math.IsNaN(o.Percentile) || o.Percentile < 0 || o.Percentile > 0.999:
		return fmt.Errorf("hedge: Percentile is %v; it is a share above 0 and up to 0.999, as in 0.95, or 0 for that", o.Percentile)
	case o.MaxHedges < 0 || o.MaxHedges > maxHedges:
		return fmt.Errorf("hedge: MaxHedges is %d; it must be from 1 to %d, or 0 for 1", o.MaxHedges, maxHedges)
	}
	return nil
}

// Layer hedges calls as o says. It panics with Validate's error if o is invalid.
//
// Each service that it wraps has latencies of its own, and a budget unless
// o.Budget is shared.
//
// A call that may be hedged runs in a goroutine, so that Call can go without it;
// its panic, or runtime.Goexit, comes up in the caller, unless it lost. That
// costs about ten allocations. A call runs in the caller's goroutine, for none,
// while the percentile is not known, and where its deadline would end it before
// the delay does.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	return LayerIf[Req, Resp](OptionsIf[Req]{Options: o})
}

// LayerIf is [Layer] for the idempotent ones among requests.
func LayerIf[Req, Resp any](o OptionsIf[Req]) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	if o.Delay == 0 && o.Percentile == 0 {
		o.Percentile = 0.95
	}
	if o.MaxHedges == 0 {
		o.MaxHedges = 1
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		o := o
		if o.Budget == nil {
			o.Budget = NewBudget(0.05)
		}
		s := &service[Req, Resp]{OptionsIf: o, next: next, line: o.describe(), below: []any{next}}
		if o.Delay == 0 {
			s.recent = newWindow(o.Percentile)
		}
		return s
	}
}

type service[Req, Resp any] struct {
	OptionsIf[Req]
	next   turret.Service[Req, Resp]
	recent *window // nil where Delay is fixed
	line   string
	below  []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	if s.Idempotent != nil && !s.Idempotent(req) {
		return s.next.Call(ctx, req)
	}
	s.Budget.Deposit()
	delay, known := s.delay()
	if !known || !fits(ctx, delay) {
		return s.alone(ctx, req)
	}
	return s.race(ctx, req, delay)
}

// delay returns how long a call has before it is sent once more.
func (s *service[Req, Resp]) delay() (d time.Duration, known bool) {
	if s.recent == nil {
		return s.Delay, true
	}
	d, known = s.recent.read()
	return d + 1, known // past the percentile: a call that takes just as long is not slow
}

// fits reports whether there is any time left after a delay of d.
func fits(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || d < time.Until(deadline)
}

// alone makes a call that will not be hedged.
func (s *service[Req, Resp]) alone(ctx context.Context, req Req) (Resp, error) {
	start := time.Now()
	resp, err := s.next.Call(ctx, req)
	if err == nil {
		s.took(time.Since(start))
	}
	return resp, err
}

// took records how long an original took.
func (s *service[Req, Resp]) took(d time.Duration) {
	if s.recent != nil {
		s.recent.add(d)
	}
}

func (s *service[Req, Resp]) String() string { return s.line }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }

// describe takes options with their defaults filled in.
func (o OptionsIf[Req]) describe() string {
	line := fmt.Sprintf("hedge after %v", o.Delay)
	if o.Delay == 0 {
		line = fmt.Sprintf("hedge past the %.4gth percentile", 100*o.Percentile)
	}
	if o.MaxHedges > 1 {
		line += fmt.Sprintf(", %d at most", o.MaxHedges)
	}
	line += ", " + o.Budget.String()
	if o.Idempotent != nil {
		line += ", idempotent requests"
	}
	return line
}
