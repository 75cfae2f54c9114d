package balance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/turretgo/turret"
)

// roster is the members at one time. It is replaced as a whole, so that calls
// read it without a lock.
type roster[Req, Resp any] struct {
	all     []*member[Req, Resp] // in the order in which they came
	in      []*member[Req, Resp] // those not on probation; empty only if all is
	below   []any                // all, for Unwrap
	line    string               // for String
	changed chan struct{}        // closed when all is out of date
}

// Insert adds a member. One that has the same name already is replaced: it gets
// no further calls, as if it were removed. Insert panics if svc is nil.
//
// A new member is tried with one call, and gets its share when that succeeds.
func (b *Balancer[Req, Resp]) Insert(name string, svc turret.Service[Req, Resp]) {
	if svc == nil {
		panic(fmt.Sprintf("balance: member %q is nil; Remove removes one", name))
	}
	b.replace(name, &member[Req, Resp]{name: name, svc: svc, below: svc})
}

// Remove takes a member out, and reports whether there was one of that name. No
// call to it begins after Remove has returned; those under way go on, and
// Options.OnRemoved is told when they have ended.
func (b *Balancer[Req, Resp]) Remove(name string) bool { return b.replace(name, nil) }

// Change is news of a member: a service to [Balancer.Insert] under the name or,
// if it is nil, the name of the one to [Balancer.Remove].
type Change[Req, Resp any] struct {
	Name    string
	Service turret.Service[Req, Resp]
}

// Follow makes the changes that come, from a service discovery for instance,
// until the channel is closed or ctx is done, of which it returns the error.
func (b *Balancer[Req, Resp]) Follow(ctx context.Context, changes <-chan Change[Req, Resp]) error {
	for {
		select {
		case c, ok := <-changes:
			switch {
			case !ok:
				return nil
			case c.Service == nil:
				b.Remove(c.Name)
			default:
				b.Insert(c.Name, c.Service)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// replace puts m, which may be nil, in the place of the member of that name.
func (b *Balancer[Req, Resp]) replace(name string, m *member[Req, Resp]) (found bool) {
	var old *member[Req, Resp]
	b.change(noCall, func() (back []Event) {
		old, back = b.swap(name, m)
		return back
	})
	if old != nil {
		b.retire(old)
	}
	return old != nil
}

func (b *Balancer[Req, Resp]) swap(name string, m *member[Req, Resp]) (old *member[Req, Resp], back []Event) {
	was := b.roster.Load()
	all := slices.Clone(was.all)
	i := slices.IndexFunc(all, func(m *member[Req, Resp]) bool { return m.name == name })
	if i >= 0 {
		old = all[i]
	}
	switch {
	case old == nil && m == nil:
		return nil, nil
	case old == nil:
		all = append(all, m)
	case m == nil:
		all = slices.Delete(all, i, i+1)
	default:
		all[i] = m
	}
	if len(notOut(all)) == 0 { // the last one that was in has gone
		back = pardon(all, b.now())
	}
	b.roster.Store(b.newRoster(all))
	b.schedule()
	close(was.changed)
	return old, back
}

func (b *Balancer[Req, Resp]) find(name string) *member[Req, Resp] {
	for _, m := range b.roster.Load().all {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (b *Balancer[Req, Resp]) newRoster(all []*member[Req, Resp]) *roster[Req, Resp] {
	r := &roster[Req, Resp]{all: all, in: notOut(all), changed: make(chan struct{})}
	names := make([]string, len(all))
	for i, m := range all {
		r.below = append(r.below, turret.Named(m.name, m.below))
		names[i] = m.name
	}
	r.line = b.options.describe(names)
	return r
}

// regroup makes the roster follow the probations.
func (b *Balancer[Req, Resp]) regroup() {
	r := *b.roster.Load()
	r.in = notOut(r.all)
	b.roster.Store(&r)
	b.schedule()
}

func notOut[Req, Resp any](all []*member[Req, Resp]) (in []*member[Req, Resp]) {
	for _, m := range all {
		if !m.out {
			in = append(in, m)
		}
	}
	return in
}

// describe is a balancer's line in turret.Describe.
func (o Options) describe(names []string) string {
	load := "by pending calls"
	if o.Load == PeakEWMA {
		load = fmt.Sprintf("by peak latency over %v", o.Decay)
	}
	if len(names) == 0 {
		names = []string{"no members"}
	}
	return fmt.Sprintf("balance %s: %s", load, strings.Join(names, ", "))
}
