// Package retry calls again when a call failed and may not fail the next time.
//
// The layer retries errors of class Transient, Throttled and Unknown, and leaves
// Permanent and Canceled ones alone. It waits longer from one attempt to the
// next, at random (see [Backoff]), and longer still when it is throttled. It
// never begins a wait that would outlive the context's deadline: it fails then
// and there, with the error that it has in hand.
//
// Retries multiply load just when a service has the least to spare. A [Budget]
// bounds by how much; share one among all stacks that call the same service.
// Stacked retries multiply too: three attempts around three are nine calls.
//
// What goes below the retry applies to each attempt, and what goes above it to
// all of them: a rate limit belongs below, so that retries cannot bypass it, and
// so does the timeout of an attempt; the timeout of the whole call belongs above.
//
// The ideas are Tower's (the policy), Finagle's (the budget) and those of the
// chapter "Addressing Cascading Failures" of the SRE book.
//
// [Options] say when to retry by an error's class. Who has to look at requests
// and responses, or to change them, writes a [Policy].
package retry

import (
	"context"
	"time"

	"github.com/turretgo/turret"
)

// Layer retries as o says. It panics with Validate's error if o is invalid.
//
// The error of an only attempt is returned unchanged, unless another was due;
// otherwise the error is an [*Error], which holds every attempt's. The layer's
// only state is the budget.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	o = o.withDefaults()
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return &service[Req, Resp]{
			next:    next,
			policy:  byClass[Req, Resp]{o},
			budget:  o.Budget,
			onRetry: o.OnRetry,
			line:    o.String(),
			below:   []any{next},
		}
	}
}

type service[Req, Resp any] struct {
	next          turret.Service[Req, Resp]
	policy        Policy[Req, Resp]
	seesSuccesses bool // the policy wants to
	budget        *Budget
	onRetry       func(context.Context, Event)
	line          string
	below         []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	if s.budget != nil {
		s.budget.Deposit()
	}
	resp, err := s.next.Call(turret.WithAttempt(ctx, 1), req)
	if s.done(err) {
		return resp, nil
	}
	return s.goOn(ctx, Try[Req, Resp]{Attempt: 1, Request: req, Response: resp, Err: err})
}

// goOn takes over after the first attempt.
func (s *service[Req, Resp]) goOn(ctx context.Context, t Try[Req, Resp]) (Resp, error) {
	var failed history
	for {
		attempt := t.Attempt
		delay, again := s.policy.Retry(ctx, &t)
		class := turret.Outcome(ctx, t.Err)
		switch {
		case !again:
			return t.Response, failed.end(t.Err, class, class, t.reason)
		case ctx.Err() != nil:
			return t.Response, failed.end(t.Err, class, turret.Canceled, ctx.Err())
		case !fits(ctx, delay):
			return t.Response, failed.end(t.Err, class, class, ErrDeadline)
		}
		cost, ok := s.withdraw(t.unreached)
		if !ok {
			return t.Response, failed.end(t.Err, class, class, ErrBudget)
		}
		if s.onRetry != nil {
			s.onRetry(ctx, Event{attempt, t.Err, class, delay})
		}
		turret.Report(ctx, turret.Event{Layer: "retry", Kind: turret.EventRetry, Count: attempt, Err: t.Err, Delay: delay})
		if err := wait(ctx, delay); err != nil {
			cost.giveBack()
			return t.Response, failed.end(t.Err, class, turret.Canceled, err)
		}
		failed.add(t.Err, class, t.unreached)
		t.Attempt++
		t.unreached = false
		t.Response, t.Err = s.next.Call(turret.WithAttempt(ctx, t.Attempt), t.Request)
		if s.done(t.Err) {
			return t.Response, nil
		}
	}
}

// withdraw pays for a retry, which costs nothing if the service was unreached.
func (s *service[Req, Resp]) withdraw(unreached bool) (cost withdrawal, ok bool) {
	if unreached {
		return withdrawal{}, true
	}
	return s.budget.withdraw()
}

// done reports whether an attempt needs no judging.
func (s *service[Req, Resp]) done(err error) bool { return err == nil && !s.seesSuccesses }

func (s *service[Req, Resp]) String() string { return s.line }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }

// fits reports whether there is time for a wait of d and for an attempt after it.
func fits(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || d < time.Until(deadline)
}

// wait waits for d, or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
