package fleet

import (
	"sync"

	"github.com/sony/gobreaker/v2"
)

// changes hands changes of state to OnStateChange, one at a time and in order.
// Those that a call makes it hands on in the call, as package breaker does. Those
// of the fleet it hands on aside, in a goroutine of its own: nothing that shares
// the state waits for OnStateChange.
type changes struct {
	notify func(name string, from, to gobreaker.State)

	mu      sync.Mutex
	queue   []change
	telling bool // there is a goroutine that tells, to which further changes are left
}

type change struct {
	name     string
	from, to gobreaker.State
}

func (c *changes) tell(ch change, aside bool) {
	c.mu.Lock()
	c.queue = append(c.queue, ch)
	if c.telling {
		c.mu.Unlock()
		return
	}
	c.telling = true
	c.mu.Unlock()
	if aside {
		go c.drain()
	} else {
		c.drain()
	}
}

// drain hands on what is in the queue. Should OnStateChange panic, the next change
// brings the rest.
func (c *changes) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.telling = false }()
	for len(c.queue) > 0 {
		first := c.queue[0]
		c.queue = c.queue[1:]
		c.unlocked(first)
	}
}

func (c *changes) unlocked(ch change) {
	c.mu.Unlock()
	defer c.mu.Lock()
	c.notify(ch.name, ch.from, ch.to)
}
