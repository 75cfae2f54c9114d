package balance

import (
	"context"
	"errors"
	"time"

	"github.com/turretgo/turret"
)

// turn is a call under way.
type turn[Req, Resp any] struct {
	balancer *Balancer[Req, Resp]
	member   *member[Req, Resp]
	start    time.Duration
	term     uint32 // the member's, when the call began
	probe    bool
	returned bool // neither panicked nor exited
}

// call has the turn's member answer a request.
func (t *turn[Req, Resp]) call(ctx context.Context, req Req) (resp Resp, err error) {
	defer func() { t.end(ctx, err) }()
	resp, err = t.member.svc.Call(ctx, req)
	t.returned = true
	return resp, err
}

var errUnwound = errors.New("balance: the call panicked, or ended its goroutine")

// end accounts for a call that is over, however it ended.
func (t *turn[Req, Resp]) end(ctx context.Context, err error) {
	b, m := t.balancer, t.member
	defer b.leave(m)
	now := b.now()
	took := now - t.start
	if !t.returned {
		err = errUnwound
	}
	if err == nil {
		m.latency.observe(took, b.tick(now), answered)
		t.well(ctx, took, now)
		return
	}
	switch t.verdict(ctx, err) {
	case turret.Permanent:
		if !m.latency.at(b.tick(now)).isKnown() {
			took = max(took, b.slowest(now))
		}
		m.latency.observe(took, b.tick(now), refused)
		t.well(ctx, took, now)
	case turret.Canceled:
		if !t.cutShort(took, now) {
			m.latency.observe(took, b.tick(now), unanswered)
		}
		switch {
		case t.probe && context.Cause(ctx) == turret.ErrOutrun:
			b.readmit(ctx, m, max(took, b.slowest(now)), now) // slow, and alive
		case t.probe:
			b.postpone(ctx, m, now)
		}
	default:
		m.latency.observe(took, b.tick(now), failed)
		t.ill(ctx, err, now)
	}
}

// cutShort reports whether a call to a new member ended before others would have
// answered. It tells nothing then; taken for a latency, it would make the member
// look faster than any that is known.
func (t *turn[Req, Resp]) cutShort(took, now time.Duration) bool {
	if t.member.latency.at(t.balancer.tick(now)).isKnown() {
		return false
	}
	slowest := t.balancer.slowest(now)
	return slowest == 0 || took < slowest
}

// verdict is Permanent, Canceled, or any class that is a failure.
func (t *turn[Req, Resp]) verdict(ctx context.Context, err error) turret.Class {
	if !t.returned {
		return turret.Unknown
	}
	class := turret.Outcome(ctx, err)
	if class == turret.Rejected && (!t.member.ready() || impatient(ctx, err)) {
		return turret.Canceled // it said beforehand that it would refuse, or refused for want of time
	}
	return class
}

// impatient reports whether a refusal asks for more time than the call has: it is
// its deadline, then, that speaks against it, and not the member.
func impatient(ctx context.Context, err error) bool {
	deadline, bounded := ctx.Deadline()
	after, asked := turret.RetryAfter(err)
	return bounded && asked && after >= time.Until(deadline)
}

func (t *turn[Req, Resp]) well(ctx context.Context, took, now time.Duration) {
	if t.probe {
		t.balancer.readmit(ctx, t.member, took, now)
		return
	}
	if t.member.failures.Load() != 0 { // do not write what everybody reads
		t.member.failures.Store(0)
	}
}

func (t *turn[Req, Resp]) ill(ctx context.Context, err error, now time.Duration) {
	b, m := t.balancer, t.member
	switch {
	case m.term.Load() != t.term:
		// It began before the member went on probation, and is old news.
	case t.probe:
		b.prolong(m, err, now)
	case int(m.failures.Add(1)) >= b.options.Failures || !m.latency.at(b.tick(now)).isKnown():
		b.expel(ctx, m, t.term, err, now)
	}
}

// slowest is the latency of the slowest member that is not on probation: of one that
// is, failures have made what is known.
func (b *Balancer[Req, Resp]) slowest(now time.Duration) (slowest time.Duration) {
	for _, m := range b.roster.Load().in {
		e := m.latency.at(b.tick(now))
		slowest = max(slowest, time.Duration(e.average*e.weight))
	}
	return slowest
}
