package balance

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/turretgo/turret"
)

// probation is a time in which a member gets no calls but probes.
type probation struct {
	out    bool
	level  int           // how often it was doubled
	length time.Duration // how long it is, or the last one was
	over   time.Duration // when a probe is due: the next, if one is under way
	since  time.Duration // when the last one ended
}

const never = math.MaxInt64

// after is d later than now, and never where that is later than there is time.
func after(now, d time.Duration) time.Duration { return now + min(d, never-now) }

// expel puts m on probation for failing in the given term.
func (b *Balancer[Req, Resp]) expel(ctx context.Context, m *member[Req, Resp], term uint32, err error, now time.Duration) {
	alone := !slices.ContainsFunc(b.roster.Load().in, func(other *member[Req, Resp]) bool {
		return other != m && other.readyWithin(b.options.Probation)
	})
	b.change(ctx, func() []Event {
		if m.out || m.isRemoved() || m.term.Load() != term {
			return nil // another call's failure was faster
		}
		if m.length > 0 && int(m.failures.Load()) < b.options.Failures {
			return nil // one failure is enough only once
		}
		if now-m.since >= m.length {
			m.level = 0
		} else {
			m.level++
		}
		wait := b.probationFor(m.level, err)
		if alone || len(b.roster.Load().in) == 1 {
			m.length = wait
			return b.bringBack(now)
		}
		m.goOut(wait, now)
		b.regroup()
		return []Event{{m.name, wait, err}}
	})
}

// recall ends all probations if, of the members there are, only some that have
// one are ready, and none of the others says that it will be before the next probe.
// It returns those that are in then, and otherwise nil.
func (b *Balancer[Req, Resp]) recall(ctx context.Context, in []*member[Req, Resp]) []*member[Req, Resp] {
	next := b.nextProbe.Load()
	if next == never {
		return nil
	}
	soon := func(m *member[Req, Resp]) bool { return m.readyWithin(time.Duration(next) - b.now()) }
	if slices.ContainsFunc(in, soon) || !slices.ContainsFunc(b.roster.Load().all, (*member[Req, Resp]).ready) {
		return nil
	}
	b.change(ctx, func() []Event { return b.bringBack(b.now()) })
	return b.roster.Load().in
}

// probe returns a member whose probation is over, if there is one, and it may be
// asked. It is not due again while the probe is under way, or only after
// MaxProbation: one that hangs does not keep its member out for ever.
func (b *Balancer[Req, Resp]) probe(ctx context.Context, now time.Duration) *member[Req, Resp] {
	if int64(now) < b.nextProbe.Load() {
		return nil
	}
	m := b.takeDue(now)
	if m != nil && !b.mayProbe(ctx, m) {
		b.postpone(ctx, m, now)
		return nil
	}
	return m
}

// mayProbe reports whether m may be asked. What is made beside the calls has no
// part in a race of theirs.
func (b *Balancer[Req, Resp]) mayProbe(ctx context.Context, m *member[Req, Resp]) bool {
	if b.options.Beside {
		return m.ready()
	}
	return m.isFree(ctx)
}

// beside makes a probe that nobody waits for.
func (b *Balancer[Req, Resp]) beside(ctx context.Context, t turn[Req, Resp], req Req) {
	began := b.probes.Go(ctx, func(ctx context.Context) { _, _ = t.call(ctx, req) })
	if !began {
		b.leave(t.member)
	}
}

func (b *Balancer[Req, Resp]) takeDue(now time.Duration) *member[Req, Resp] {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.roster.Load().all {
		if m.out && m.over <= now {
			m.over = after(now, b.options.MaxProbation)
			b.schedule()
			return m
		}
	}
	return nil
}

// postpone makes another probe due after one that came to nothing.
func (b *Balancer[Req, Resp]) postpone(ctx context.Context, m *member[Req, Resp], now time.Duration) {
	b.change(ctx, func() []Event {
		m.over = after(now, m.length)
		b.schedule()
		return nil
	})
}

// prolong doubles m's probation after a probe that failed.
func (b *Balancer[Req, Resp]) prolong(m *member[Req, Resp], err error, now time.Duration) {
	b.change(noCall, func() []Event { // to observers no change: it was on probation and is
		if !m.out || m.isRemoved() {
			return nil
		}
		m.level++
		wait := b.probationFor(m.level, err)
		m.goOut(wait, now)
		b.schedule()
		return []Event{{m.name, wait, err}}
	})
}

// readmit ends m's probation after a probe that succeeded. What is known of its
// latency is from another time; the probe's is all that counts.
func (b *Balancer[Req, Resp]) readmit(ctx context.Context, m *member[Req, Resp], took, now time.Duration) {
	b.change(ctx, func() []Event {
		if !m.out || m.isRemoved() {
			return nil
		}
		m.latency.set(took, b.tick(now))
		m.comeBack(now)
		b.regroup()
		return []Event{{Name: m.name}}
	})
}

// bringBack ends all probations: there is nobody to be preferred to those who
// have one. Failures counted so far count no more.
func (b *Balancer[Req, Resp]) bringBack(now time.Duration) (back []Event) {
	back = pardon(b.roster.Load().all, now)
	b.regroup()
	return back
}

func pardon[Req, Resp any](all []*member[Req, Resp], now time.Duration) (back []Event) {
	for _, m := range all {
		if m.out {
			back = append(back, Event{Name: m.name})
		}
		m.comeBack(now)
	}
	return back
}

// probationFor returns how long to leave a member alone that said err.
func (b *Balancer[Req, Resp]) probationFor(level int, err error) time.Duration {
	wait, longest := b.options.Probation, b.options.MaxProbation
	if wait > longest>>level {
		wait = longest
	} else {
		wait <<= level
	}
	wait = wait/2 + rand.N(wait-wait/2) + 1
	if after, ok := turret.RetryAfter(err); ok {
		wait = max(wait, min(after, longest))
	}
	return wait
}

// schedule finds out when the next probe is due.
func (b *Balancer[Req, Resp]) schedule() {
	next := int64(never)
	for _, m := range b.roster.Load().all {
		if m.out {
			next = min(next, int64(m.over))
		}
	}
	b.nextProbe.Store(next)
}

// noCall is the context of changes that no call's observers are told of.
var noCall = context.Background()

// change makes a change with mu held, and tells of it without: OnChange, and the
// observers of the call that ctx is of.
func (b *Balancer[Req, Resp]) change(ctx context.Context, make func() []Event) {
	for _, e := range b.locked(make) {
		if b.options.OnChange != nil {
			b.options.OnChange(e)
		}
		report(ctx, e)
	}
}

func report(ctx context.Context, e Event) {
	told := turret.Event{Layer: "balance", Kind: turret.EventChange, Name: e.Name, Delay: e.Out, Err: e.Err, From: onProbation, To: in}
	if e.Out > 0 {
		told.From, told.To = in, onProbation
	}
	turret.Report(ctx, told)
}

func (b *Balancer[Req, Resp]) locked(f func() []Event) []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return f()
}
