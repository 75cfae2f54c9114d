// Package deadline has a context with a deadline that costs one allocation until
// somebody waits for its end.
//
// What makes context.WithDeadline dear is the timer, the parent's list of its
// children and the channel, none of which matters to a call that returns without
// having looked. A [Context] begins without them, as a deadline and a parent. It
// answers Err by the clock. When somebody asks for Done, as every child context
// does, or when its end is seen for the first time, it becomes a context of the
// standard library, and passes every question on to it. So it is as true a parent
// as that: children register without a goroutine each, and context.Cause,
// AfterFunc and WithoutCancel know it.
//
// There is one thing that only a timer can tell: which of two ends came first, when
// both came before anybody looked. Of a parent that was canceled and a deadline
// that passed, the parent's end is told. Of Cancel and anything else, it is Cancel.
// Whoever looks in between, or has asked for Done, sees what the standard library
// would show.
package deadline

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Context is a context that ends at its deadline, or with its parent, or by
// Cancel. Make one with [After]. It is safe for concurrent use.
//
// It is never used again for another call, for somebody may still hold it.
type Context struct {
	parent   context.Context
	deadline time.Time // the zero Time where the parent's is no later
	cause    error
	actual   atomic.Pointer[actual] // nil until it matters
}

// actual is what a Context has become: a context of the standard library.
type actual struct {
	context.Context
	cancel context.CancelFunc
}

// canceled is in the place of an actual context that nobody has asked for yet.
var canceled = &actual{cancel: func() {}}

// After returns a context that ends after d, and whose context.Cause is then cause.
// It is context.WithTimeoutCause, and its Cancel has to be called as the function
// that returns. The deadline is the parent's where that is no later.
func After(parent context.Context, d time.Duration, cause error) *Context {
	c := &Context{parent: parent, deadline: time.Now().Add(d), cause: cause}
	if above, ok := parent.Deadline(); ok && !above.After(c.deadline) {
		c.deadline = time.Time{}
	}
	return c
}

// Cancel ends the context, if it has not ended yet, with context.Canceled. It may
// be called more than once.
func (c *Context) Cancel() {
	if !c.actual.CompareAndSwap(nil, canceled) {
		c.actual.Load().cancel()
	}
}

// Deadline returns when the context ends, at the latest.
func (c *Context) Deadline() (time.Time, bool) {
	if c.deadline.IsZero() {
		return c.parent.Deadline()
	}
	return c.deadline, true
}

// Done is context.Context's. From the first call on, the context costs what one of
// the standard library does.
func (c *Context) Done() <-chan struct{} { return c.become().Done() }

// Err is context.Context's.
func (c *Context) Err() error {
	if c.actual.Load() == nil && c.parent.Err() == nil && !c.passed() {
		return nil
	}
	return c.become().Err()
}

// Value is context.Context's. Only what the context has become answers to the key
// under which the standard library looks for a parent, and for the cause of an end:
// it asks for Done, or for Err, before.
func (c *Context) Value(key any) any {
	if c.actual.Load() == nil {
		return c.parent.Value(key)
	}
	return c.become().Value(key)
}

// String names the context as the standard library's are named.
func (c *Context) String() string {
	parent := fmt.Sprintf("%T", c.parent)
	if s, ok := c.parent.(fmt.Stringer); ok {
		parent = s.String()
	}
	until, _ := c.Deadline()
	return fmt.Sprintf("%s.WithDeadline(%v)", parent, until)
}

func (c *Context) passed() bool {
	return !c.deadline.IsZero() && time.Until(c.deadline) <= 0
}

// become returns the context of the standard library that this one is from now on.
// Of several goroutines that make one at once, the first is right for all.
func (c *Context) become() *actual {
	for {
		old := c.actual.Load()
		if old != nil && old != canceled {
			return old
		}
		ctx, cancel := c.standard(old == canceled)
		made := &actual{ctx, cancel}
		if c.actual.CompareAndSwap(old, made) {
			return made
		}
		cancel()
	}
}

// standard returns what the standard library would have made in this one's place.
func (c *Context) standard(canceled bool) (context.Context, context.CancelFunc) {
	switch {
	case canceled: // and whatever has become of the parent since makes no difference
		ctx, cancel := context.WithCancel(context.WithoutCancel(c.parent))
		cancel()
		return ctx, cancel
	case c.deadline.IsZero():
		return context.WithCancel(c.parent)
	case c.parent.Err() == context.DeadlineExceeded && c.passed(): // the parent's deadline is later
		return context.WithDeadlineCause(context.WithoutCancel(c.parent), c.deadline, c.cause)
	default:
		return context.WithDeadlineCause(c.parent, c.deadline, c.cause)
	}
}
