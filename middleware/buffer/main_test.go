package buffer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/buffer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errCard = errors.New("card removed")

// card is a handler: it takes a second a request, and must not be used by two at
// a time. It says so if it is, or if it is used after its Close.
type card struct {
	deaf   bool                             // it does not listen to its context
	answer func(context.Context, int) error // in place of nil
	close  func() error                     // likewise
	served []int                            // requests, in their order
	closes int                              // calls of Close
	inUse  sync.Mutex                       // by one at a time
}

func (c *card) Call(ctx context.Context, n int) (int, error) {
	c.use()
	defer c.inUse.Unlock()
	c.served = append(c.served, n)
	select {
	case <-time.After(time.Second):
	case <-unless(c.deaf, ctx.Done()):
		return 0, ctx.Err()
	}
	if c.answer != nil {
		return 10 * n, c.answer(ctx, n)
	}
	return 10 * n, nil
}

func (c *card) Close() error {
	c.use()
	defer c.inUse.Unlock()
	c.closes++
	if c.close != nil {
		return c.close()
	}
	return nil
}

func (c *card) String() string { return "card" }

func (c *card) use() {
	if !c.inUse.TryLock() {
		panic("the card is used by two at a time")
	}
	if c.closes > 0 {
		panic("the card is used after its Close")
	}
}

func unless(not bool, c <-chan struct{}) <-chan struct{} {
	if not {
		return nil
	}
	return c
}

type stream = buffer.Buffer[int, int]

func worker(c *card, o buffer.Options) *stream { return buffer.New[int, int](c, o) }

// bubble runs test with a card and its worker in fake time, and closes the
// worker in the end.
func bubble(t *testing.T, o buffer.Options, test func(t *testing.T, c *card, b *stream)) {
	synctest.Test(t, func(t *testing.T) {
		c := &card{}
		b := worker(c, o)
		test(t, c, b)
		_ = b.Shutdown(t.Context())
		require.Equal(t, 1, c.closes)
	})
}

// call is a call under way.
type call struct {
	resp  int
	err   error
	took  time.Duration
	ended chan struct{}
}

// begin makes a call in a goroutine of its own, and returns when it waits.
func begin(ctx context.Context, b turret.Service[int, int], n int) *call {
	c := &call{ended: make(chan struct{})}
	start := time.Now()
	go func() {
		defer close(c.ended)
		c.resp, c.err = b.Call(ctx, n)
		c.took = time.Since(start)
	}()
	synctest.Wait()
	return c
}

func (c *call) wait() *call {
	<-c.ended
	return c
}

func (c *call) hasEnded() bool {
	synctest.Wait()
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}
