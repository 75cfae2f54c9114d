package balance

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
)

// member is one of the services among which calls are spread.
type member[Req, Resp any] struct {
	name  string
	svc   turret.Service[Req, Resp]
	below any // svc

	calls    atomic.Int64 // under way, and the bits removed and drained
	latency  latency
	failures atomic.Int32  // in a row
	term     atomic.Uint32 // new whenever it goes on probation or comes back

	probation // guarded by the balancer's mu
}

// Bits of a member's calls. Either makes its load enormous, should it still be
// looked at.
const (
	removed = 1 << 61 // no call begins any more
	drained = 1 << 62 // and the last one has ended
)

func (m *member[Req, Resp]) ready() bool { return turret.Ready(m.below) == nil }

// readyWithin reports whether m is ready, or says that it will be before d is over.
func (m *member[Req, Resp]) readyWithin(d time.Duration) bool {
	err := turret.Ready(m.below)
	after, ok := turret.RetryAfter(err)
	return err == nil || ok && after < d
}

// isFree reports whether m is ready, and no rival of the call that ctx is of has
// it: a hedge above must not send two calls of one request to the same member.
func (m *member[Req, Resp]) isFree(ctx context.Context) bool {
	return m.ready() && turret.Claim(ctx, m)
}

func (m *member[Req, Resp]) isRemoved() bool { return m.calls.Load() >= removed }

// enter begins a call of m, and reports false if m was removed.
func (b *Balancer[Req, Resp]) enter(m *member[Req, Resp]) bool {
	if m.calls.Add(1) < removed {
		return true
	}
	b.leave(m)
	return false
}

// leave ends what enter began.
func (b *Balancer[Req, Resp]) leave(m *member[Req, Resp]) {
	if m.calls.Add(-1) == removed {
		b.drain(m)
	}
}

// retire lets no further call begin.
func (b *Balancer[Req, Resp]) retire(m *member[Req, Resp]) {
	m.calls.Or(removed)
	b.drain(m)
}

// drain tells once, of a removed member, that it has no calls any more.
func (b *Balancer[Req, Resp]) drain(m *member[Req, Resp]) {
	if m.calls.CompareAndSwap(removed, removed|drained) && b.options.OnRemoved != nil {
		b.options.OnRemoved(m.name, m.below)
	}
}

// newTerm makes the results of calls under way count no more.
func (m *member[Req, Resp]) newTerm() {
	m.term.Add(1)
	m.failures.Store(0)
}

// goOut puts m on probation.
func (m *member[Req, Resp]) goOut(wait, now time.Duration) {
	m.out, m.length, m.over = true, wait, after(now, wait)
	m.newTerm()
}

// comeBack ends its probation.
func (m *member[Req, Resp]) comeBack(now time.Duration) {
	m.out, m.since = false, now
	m.newTerm()
}
