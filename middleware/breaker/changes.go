package breaker

import (
	"sync"
	"sync/atomic"

	"github.com/sony/gobreaker/v2"
)

// changes hands changes of state to Settings.OnStateChange.
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
	queue      []change
	delivering bool
}

type change struct{ from, to gobreaker.State }

// add queues a change. It is called under gobreaker's lock.
func (c *changes) add(from, to gobreaker.State) {
	if c.notify == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, change{from, to})
	c.waiting.Store(true)
}

// deliver empties the queue, unless another goroutine is at it.
func (c *changes) deliver() {
	if c.waiting.Load() {
		c.drain()
	}
}

func (c *changes) drain() {
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
		c.tell(first)
	}
}

// tell calls OnStateChange unlocked. Should that panic, the lock is held again
// on the way up, and the next call delivers the rest.
func (c *changes) tell(ch change) {
	c.mu.Unlock()
	defer c.mu.Lock()
	c.notify(c.name, ch.from, ch.to)
}
