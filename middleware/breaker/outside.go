package breaker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sony/gobreaker/v2"
)

// NewObserved is [New] for who keeps breakers in step, as package fleet does:
// counted is called with each result that counts, in order, ok being false for
// a failure. It is called under gobreaker's lock, so it must be quick, and not
// touch the breaker.
func NewObserved(s gobreaker.Settings, counted func(ok bool)) *Breaker {
	b := newBreaker(s)
	b.counted = counted
	return b
}

// Open opens b, whatever its state, until d from now, when it is half-open; with
// a d of 0 it is so at once. Settings.Timeout is for when it opens by itself the
// next time. Calls under way count no more when they end. Reason is what
// [OpenError] gives, unless b is open already, for a reason of its own.
//
// OnStateChange is told before Open and Reset return, or by another goroutine
// that is telling it something; observers of calls hear only of what calls
// change.
func (b *Breaker) Open(d time.Duration, reason string) {
	e := &engine{reason: reason, byWall: true, line: new(line)}
	if p := b.phase(); p != nil {
		e.reason, e.last = p.reason, p.last
	}
	b.open(e, d)
	b.install(e)
	b.changes.deliver(context.Background())
}

// Reset closes b, whatever its state, and forgets what it has counted. Calls
// under way count no more when they end.
func (b *Breaker) Reset() {
	b.install(b.closed())
	b.changes.deliver(context.Background())
}

// install puts e in the place of b's engine. Whatever the old one does from now
// on concerns nobody.
func (b *Breaker) install(e *engine) {
	b.changes.mu.Lock()
	defer b.changes.mu.Unlock()
	b.replace(e)
	state := gobreaker.StateClosed
	if p := e.phase.Load(); p != nil {
		state = p.state
	}
	b.changes.enqueue(state)
}

// replace is called with the lock of changes held.
func (b *Breaker) replace(e *engine) {
	b.engine.Store(e)
	b.changes.engine = e
}

func (b *Breaker) closed() *engine {
	e := &engine{line: new(line)}
	e.CircuitBreaker = gobreaker.NewCircuitBreaker[struct{}](b.observed(e))
	return e
}

// open makes e, which is new, open for d. Gobreaker's state can be set in one way:
// in the store of a distributed breaker.
func (b *Breaker) open(e *engine, d time.Duration) {
	var m memory
	breaker, err := gobreaker.NewDistributedCircuitBreaker[struct{}](&m, b.observed(e))
	if err != nil {
		panic(err) // of memory, which has none
	}
	until := time.Now().Add(d) // from when on gobreaker admits a probe
	e.phase.Store(&phase{gobreaker.StateOpen, until, e.reason, e.last})
	m.edit(func(s *gobreaker.SharedState) {
		s.State = gobreaker.StateOpen
		if s.Expiry = until.Add(-1); d <= 0 {
			s.Expiry = time.Time{} // before now on any clock
		}
	})
	if _, err := breaker.State(); err != nil {
		panic(err)
	}
	e.CircuitBreaker = breaker.CircuitBreaker
}

// halfOpen puts a half-open engine in the place of e, which is open by the wall's
// clock, if its time is over by ours, and reports whether it is. When that clock
// was set back meanwhile, e would be open for that much longer.
func (b *Breaker) halfOpen(e *engine) bool {
	p := e.phase.Load()
	if !e.byWall || p == nil || p.state != gobreaker.StateOpen || p.isOpen() {
		return false
	}
	next := &engine{reason: p.reason, last: p.last}
	b.open(next, 0)
	b.changes.mu.Lock()
	defer b.changes.mu.Unlock()
	if b.engine.Load() == e && e.phase.Load() == p {
		next.line = e.line
		b.replace(next)
		b.changes.enqueue(gobreaker.StateHalfOpen)
	}
	return true
}

// memory holds the state of one distributed breaker, for one goroutine.
type memory []byte

func (m *memory) edit(change func(*gobreaker.SharedState)) {
	var s gobreaker.SharedState
	if err := json.Unmarshal(*m, &s); err != nil {
		panic(err) // gobreaker wrote it
	}
	change(&s)
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	*m = data
}

func (m *memory) Lock(string) error                   { return nil }
func (m *memory) Unlock(string) error                 { return nil }
func (m *memory) GetData(string) ([]byte, error)      { return *m, nil }
func (m *memory) SetData(_ string, data []byte) error { *m = data; return nil }
