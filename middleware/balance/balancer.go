package balance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/internal/beside"
)

// ErrNoMembers is the error of a call for which there is no member. Its class is
// [turret.Rejected].
var ErrNoMembers = turret.WithClass(errors.New("balance: no members"), turret.Rejected)

// Balancer is a service that sends each call to one of its members. It is made
// by [New], and safe for concurrent use. Members may come and go at any time.
type Balancer[Req, Resp any] struct {
	options Options
	epoch   time.Time
	roster  atomic.Pointer[roster[Req, Resp]]

	mu        sync.Mutex   // held to change the roster or a probation, and for no call
	nextProbe atomic.Int64 // when the first probation is over, as now tells the time

	probes beside.Calls // with Options.Beside
}

// New returns a balancer of replicas, of which there may be none as yet. It
// panics with Validate's error if o is invalid, and if a replica is nil or two
// have the same name.
func New[Req, Resp any](o Options, replicas ...turret.Service[Req, Resp]) *Balancer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	b := &Balancer[Req, Resp]{options: o.withDefaults(), epoch: time.Now()}
	b.nextProbe.Store(never)
	b.roster.Store(b.newRoster(nil))
	for i, svc := range replicas {
		name := name(o.Names, i)
		if b.find(name) != nil {
			panic(fmt.Sprintf("balance: New was given two replicas named %q; Options.Names must differ", name))
		}
		b.Insert(name, svc)
	}
	return b
}

func name(names []string, i int) string {
	if i < len(names) && names[i] != "" {
		return names[i]
	}
	return fmt.Sprintf("replica %d", i+1)
}

// Call sends req to one member, and returns what that says.
func (b *Balancer[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	t, err := b.admit(ctx, req)
	if err != nil {
		if err == ErrNoMembers {
			turret.Report(ctx, turret.Event{Layer: "balance", Kind: turret.EventRefuse, Err: err})
		}
		return resp, err
	}
	return t.call(ctx, req)
}

// admit finds a member for a call.
func (b *Balancer[Req, Resp]) admit(ctx context.Context, req Req) (turn[Req, Resp], error) {
	for {
		r := b.roster.Load()
		if len(r.in) == 0 {
			if err := b.wait(ctx, r); err != nil {
				return turn[Req, Resp]{}, err
			}
			continue
		}
		now := b.now()
		if m := b.probe(ctx, now); m != nil && b.enter(m) {
			t := turn[Req, Resp]{balancer: b, member: m, start: now, term: m.term.Load(), probe: true}
			if !b.options.Beside {
				return t, nil
			}
			b.beside(ctx, t, req)
		}
		m := b.pick(ctx, r.in, b.tick(now))
		if m == nil {
			return turn[Req, Resp]{}, turret.ErrTaken
		}
		if b.enter(m) {
			return turn[Req, Resp]{balancer: b, member: m, start: now, term: m.term.Load()}, nil
		} // else it was removed since
	}
}

// wait waits until r, which has no members, is out of date.
func (b *Balancer[Req, Resp]) wait(ctx context.Context, r *roster[Req, Resp]) error {
	if !b.options.Wait {
		return ErrNoMembers
	}
	select {
	case <-r.changed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNoMembers, ctx.Err())
	}
}

// draws is how often two members are drawn until one of them is ready.
const draws = 5

// pick returns the better of two members, or nil if rivals of the call have all
// of them. It takes no lock, and no longer for many members than for few, unless
// rivals have those that it draws, or none of those is ready.
func (b *Balancer[Req, Resp]) pick(ctx context.Context, in []*member[Req, Resp], tick uint32) *member[Req, Resp] {
	for range draws {
		i, j := twoOf(len(in))
		better, other := in[i], in[j]
		if b.load(other, tick) < b.load(better, tick) {
			better, other = other, better
		}
		if better.isFree(ctx) {
			return better
		}
		if other.isFree(ctx) {
			return other
		}
	}
	if m := anyOf(in, func(m *member[Req, Resp]) bool { return m.isFree(ctx) }); m != nil {
		return m // few are, and the draws have missed them
	}
	for _, m := range b.recall(ctx, in) {
		if m.isFree(ctx) {
			return m
		}
	}
	return anyOf(in, func(m *member[Req, Resp]) bool { return turret.Claim(ctx, m) })
}

// anyOf returns the first of members that will do, from one that is drawn on, or
// nil.
func anyOf[Req, Resp any](members []*member[Req, Resp], do func(*member[Req, Resp]) bool) *member[Req, Resp] {
	for i, first := 0, rand.IntN(len(members)); i < len(members); i++ {
		if m := members[(first+i)%len(members)]; do(m) {
			return m
		}
	}
	return nil
}

// twoOf draws two numbers below n, which differ if they can.
func twoOf(n int) (int, int) {
	if n == 1 {
		return 0, 0
	}
	pair := rand.IntN(n * (n - 1))
	i, j := pair/(n-1), pair%(n-1)
	if j >= i {
		j++
	}
	return i, j
}

// load returns what m's load would be with one call more.
func (b *Balancer[Req, Resp]) load(m *member[Req, Resp], tick uint32) float64 {
	calls := float64(m.calls.Load())
	if b.options.Load == Pending {
		return calls + 1
	}
	return m.latency.at(tick).cost(calls)
}

// now is the time since the balancer was made.
func (b *Balancer[Req, Resp]) now() time.Duration { return time.Since(b.epoch) }

// tick is that time as latencies have it.
func (b *Balancer[Req, Resp]) tick(now time.Duration) uint32 {
	return uint32(now / max(b.options.Decay/ticksPerDecay, 1))
}

// Close ends the probes that are made beside the calls, which go on without. It
// must not be called from within a call.
func (b *Balancer[Req, Resp]) Close() error {
	b.probes.Close()
	return nil
}

// Ready returns ErrNoMembers if there are none and calls do not wait for one;
// [turret.Ready] asks those that there are, of which one has to be ready.
func (b *Balancer[Req, Resp]) Ready() error {
	if len(b.roster.Load().all) == 0 && !b.options.Wait {
		return ErrNoMembers
	}
	return nil
}

// String names the members, in the order in which they came.
func (b *Balancer[Req, Resp]) String() string { return b.roster.Load().line }

// Unwrap returns the members, in the same order.
func (b *Balancer[Req, Resp]) Unwrap() []any { return b.roster.Load().below }
