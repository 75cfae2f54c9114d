package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

// Breaker is a circuit breaker whose state is shared, through Redis, by all
// processes that have one of the same Key and Settings. The package's
// documentation says how.
//
// It is safe for concurrent use.
type Breaker struct {
	o        BreakerOptions
	local    *breaker.Breaker
	register register
	redis    caller
	changes  changes
	wake     chan struct{} // holds an item when the local breaker has changed
	used     atomic.Bool   // since the syncer looked

	mu      sync.Mutex
	closed  bool
	syncing bool   // there is a syncer
	results []bool // what the local breaker has counted, to be told
	failed  bool   // there is a failure among them
	outage

	syncer   sync.WaitGroup
	follower // the syncer's
}

// BreakerLayer returns the layer of a Breaker, which it makes each time it wraps
// a service, and which [turret.Close] of the stack closes. See [ShareBreaker] for
// one Breaker in several stacks. It panics with o.Validate's error if there is
// one.
func BreakerLayer[Req, Resp any](o BreakerOptions) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		b := NewBreaker(o)
		return &ownService[Req, Resp]{newService(b, next)}
	}
}

// ShareBreaker returns a layer on a Breaker that the caller made, and closes.
func ShareBreaker[Req, Resp any](b *Breaker) turret.Layer[Req, Resp] {
	if b == nil {
		panic("fleet: ShareBreaker of a nil Breaker; make one with fleet.NewBreaker")
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] { return newService(b, next) }
}

// NewBreaker returns a closed Breaker, and does not ask Redis yet. It panics with
// o.Validate's error if there is one.
func NewBreaker(o BreakerOptions) *Breaker {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	o = o.withDefaults()
	return newBreaker(o, newKeyRegister(o))
}

func newBreaker(o BreakerOptions, r register) *Breaker {
	b := &Breaker{
		o:        o,
		register: r,
		redis:    newCaller(o.Timeout),
		changes:  changes{notify: o.Settings.OnStateChange},
		wake:     make(chan struct{}, 1),
		follower: follower{settings: o.shared(), id: fmt.Sprintf("%0*x", idSize, rand.Uint64())},
	}
	s := o.Settings
	s.OnStateChange = func(name string, from, to gobreaker.State) {
		select {
		case b.wake <- struct{}{}:
		default:
		}
		if b.changes.notify != nil {
			b.changes.tell(change{name, from, to}, b.following.Load())
		}
	}
	b.local = breaker.NewObserved(s, b.count)
	return b
}

// State returns the state that a call made now would find, as
// [breaker.Breaker.State] does.
func (b *Breaker) State() gobreaker.State { return b.local.State() }

// Counts returns what this replica has counted in the present state and Interval.
func (b *Breaker) Counts() gobreaker.Counts { return b.local.Counts() }

// Err returns why this replica's breaker is on its own, or nil if it shares the
// fleet's state.
func (b *Breaker) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

// String says the breaker's name and how long it opens for, and the Key.
func (b *Breaker) String() string { return fmt.Sprintf("%v, fleet %q", b.local, b.o.Key) }

// Close ends the Breaker's use of Redis, and its goroutine. Calls go on, with
// this replica's own breaker. It does not wait for OnStateChange, which may call
// it. It returns nil.
func (b *Breaker) Close() error {
	b.mu.Lock()
	b.closed, b.results = true, nil
	b.begin(errBreakerClosed, time.Now())
	b.mu.Unlock()
	b.redis.stop()
	b.syncer.Wait()
	return nil
}

// use is told of every call, and has the syncer run.
func (b *Breaker) use() {
	if b.used.Load() {
		return
	}
	b.used.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.syncing && !b.closed {
		b.syncing = true
		b.syncer.Go(b.sync)
	}
}

// count is told of every result that counts, under the local breaker's lock.
func (b *Breaker) count(ok bool) {
	b.mu.Lock()
	if len(b.results) < maxResults && !b.closed {
		b.results = append(b.results, ok)
		b.failed = b.failed || !ok
	}
	b.mu.Unlock()
	b.use()
}

type service[Req, Resp any] struct {
	breaker *Breaker
	local   turret.Service[Req, Resp]
	below   []any
}

func newService[Req, Resp any](b *Breaker, next turret.Service[Req, Resp]) *service[Req, Resp] {
	return &service[Req, Resp]{b, breaker.Share[Req, Resp](b.local)(next), []any{next}}
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	s.breaker.use()
	return s.local.Call(ctx, req)
}

// Ready is a use, too: a failover above may ask nothing else of an open breaker.
func (s *service[Req, Resp]) Ready() error {
	s.breaker.use()
	return s.local.(turret.Readier).Ready()
}

func (s *service[Req, Resp]) String() string { return s.breaker.String() }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }

// ownService closes its Breaker.
type ownService[Req, Resp any] struct{ *service[Req, Resp] }

func (s *ownService[Req, Resp]) Close() error { return s.breaker.Close() }
