package breaker

import (
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
)

// NewImpatient is [New] for a breaker that lets other probes go when one has been
// out for longer than patience.
//
// A service that hangs holds up its probes, and with them the news that it is
// well again: until the timeout of an attempt has run out, or for ever. Here all
// that are out give their places to others when one is overdue, so that no more
// than Settings.MaxRequests go from one such moment to the next, which is later by
// patience at least. What becomes of a probe that lost its place counts no more, but
// for a success, which closes the breaker if it is not closed yet: a service that is
// slow answers all the same.
//
// A patience below what the service takes when it is well lets go more probes
// than it needs. NewImpatient panics unless patience is above zero, and with
// [Validate]'s error if s is misconfigured.
func NewImpatient(s gobreaker.Settings, patience time.Duration) *Breaker {
	if patience <= 0 {
		panic(fmt.Errorf("breaker: patience with a probe is %v; it must be above zero", patience))
	}
	b := newBreaker(s)
	b.patience = patience
	return b
}

// watch sees to it that a probe of e in phase p, which begins now, becomes overdue.
// The function that it returns ends the watch.
func (b *Breaker) watch(e *engine, p *phase) (stop func() bool) {
	return time.AfterFunc(b.patience, func() { b.passOver(e, p) }).Stop
}

// passOver puts another half-open engine in the place of e, whose probes are
// overdue, unless e is no longer in phase p.
func (b *Breaker) passOver(e *engine, p *phase) {
	next := &engine{reason: p.reason, last: p.last}
	b.open(next, 0)
	b.changes.mu.Lock()
	defer b.changes.mu.Unlock()
	if b.engine.Load() == e && e.phase.Load() == p {
		next.line = e.line
		e.overdue.Store(true)
		b.replace(next)
	}
}

// closeLate closes b after the success of an overdue probe of e. Where Open or
// Reset have been called meanwhile, or another probe has closed it, it counts no
// more.
func (b *Breaker) closeLate(e *engine) {
	b.changes.mu.Lock()
	defer b.changes.mu.Unlock()
	if now := b.engine.Load(); now.line == e.line && now.phase.Load() != nil {
		b.replace(b.closed())
		b.changes.enqueue(gobreaker.StateClosed)
	}
}
