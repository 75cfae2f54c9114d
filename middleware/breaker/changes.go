package breaker

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
)

// changes hands changes of state to Settings.OnStateChange, and to the observers
// of the call that delivers them.
//
// Gobreaker would call it under its lock, where asking the breaker anything
// deadlocks. Here changes queue up in gobreaker's order, and the call that made
// one delivers it when it holds no lock: one at a time, in order. While
// OnStateChange runs in one goroutine, changes made by others, or by itself,
// are left to that goroutine.
type changes struct {
	name   string
	notify func(name string, from, to gobreaker.State)

	waiting    atomic.Bool // whether the queue has any, so that most calls need no lock to know
	mu         sync.Mutex
	engine     *engine         // whose changes count
	state      gobreaker.State // after those in the queue
	queue      []change
	delivering bool
}

type change struct{ from, to gobreaker.State }

// add queues a change of e's, unless another engine has taken its place. It is
// called under gobreaker's lock.
func (c *changes) add(e *engine, to gobreaker.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e != c.engine {
		return
	}
	c.enqueue(to)
	if to == gobreaker.StateClosed {
		e.line = new(line) // the outage is over, and its late probes have nothing to say of another
	}
}

// enqueue is called with the lock held.
func (c *changes) enqueue(to gobreaker.State) {
	if to != c.state {
		c.queue = append(c.queue, change{c.state, to})
		c.waiting.Store(true)
	}
	c.state = to
}

// deliver empties the queue, unless another goroutine is at it.
func (c *changes) deliver(ctx context.Context) {
	if c.waiting.Load() {
		c.drain(ctx)
	}
}

func (c *changes) drain(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.delivering {
		return
	}
	c.delivering = true
	defer func() { c.delivering = false }()
	for len(c.queue) > 0 {
		first := c.queue[0]
		c.queue = c.queue[1:]
		c.waiting.Store(len(c.queue) > 0)
		c.tell(ctx, first)
	}
}

// tell calls OnStateChange and the observers unlocked. Should one panic, the lock
// is held again on the way up, and the next call delivers the rest.
func (c *changes) tell(ctx context.Context, ch change) {
	c.mu.Unlock()
	defer c.mu.Lock()
	if c.notify != nil {
		c.notify(c.name, ch.from, ch.to)
	}
	turret.Report(ctx, turret.Event{
		Layer: "breaker",
		Kind:  turret.EventChange,
		Name:  c.name,
		From:  ch.from.String(),
		To:    ch.to.String(),
	})
}
