// Package beside makes calls that nobody waits for, such as a probe of a replica
// that is thought to be ill, with the request of a call that goes elsewhere.
package beside

import (
	"context"
	"sync"
	"time"
)

// Patience is after how long a call is given up that does not return by itself.
const Patience = 30 * time.Second

// Calls are those under way. The zero Calls are ready to use, by any number of
// goroutines.
type Calls struct {
	mu     sync.Mutex
	closed bool
	life   context.Context // until Close; nil before the first call
	end    context.CancelFunc
	calls  sync.WaitGroup
}

// Go makes a call in a goroutine, and reports false, without making it, after
// Close. The call's context has the values of ctx, not its end: it ends after
// Patience, or with Close.
//
// A panic of the call ends there. Whoever made it sees that it did not return, in
// a deferred function.
func (c *Calls) Go(ctx context.Context, call func(ctx context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if c.life == nil {
		c.life, c.end = context.WithCancel(context.Background())
	}
	life := c.life
	c.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Patience)
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		defer func() { _ = recover() }() // in a goroutine of ours it would end the program
		call(ctx)
	})
	return true
}

// Close ends the calls under way, and returns when they have. It must not be
// called from within one.
func (c *Calls) Close() {
	c.mu.Lock()
	c.closed = true
	if c.end != nil {
		c.end()
	}
	c.mu.Unlock()
	c.calls.Wait()
}
