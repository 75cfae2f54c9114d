package adaptive_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
)

// caller calls svc in a goroutine and waits until the call is under way or queues.
func caller(ctx context.Context, svc turret.Service[int, int], n int) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := svc.Call(ctx, n)
		done <- err
	}()
	synctest.Wait()
	return done
}

// gate is a service whose calls end one by one, as told.
type gate struct {
	entered []int
	open    chan struct{}
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) Call(ctx context.Context, n int) (int, error) {
	g.entered = append(g.entered, n) // one at a time: the limit is 1
	select {
	case <-g.open:
		return n, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// next lets the call under way end.
func (g *gate) next() {
	g.open <- struct{}{}
	synctest.Wait()
}

func TestBeyondTheLimitCallsWaitInTheOrderTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		l := adaptive.New(adaptive.Options{Max: 1})
		svc := share(l, g)
		for n := range 4 {
			caller(t.Context(), svc, n)
			require.Equal(t, n, l.Waiting())
		}
		for n := range 4 {
			require.Len(t, g.entered, n+1, "each completion wakes exactly one")
			require.Equal(t, 1, l.InFlight())
			g.next()
		}
		require.Equal(t, []int{0, 1, 2, 3}, g.entered)
		require.Zero(t, l.InFlight())
	})
}

func TestACallNeverOvertakesThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		svc := share(adaptive.New(adaptive.Options{Max: 1}), turret.ServiceFunc[int, int](g.Call))
		again := make(chan struct{})
		go func() { // calls again at once, as soon as it has its answer
			for n := range 3 {
				_, _ = svc.Call(context.Background(), n)
			}
			close(again)
		}()
		synctest.Wait()
		caller(t.Context(), svc, 100)
		for range 4 {
			g.next()
		}
		<-again
		require.Equal(t, []int{0, 100, 1, 2}, g.entered)
	})
}

func TestMaxQueueBoundsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		l := adaptive.New(adaptive.Options{Max: 1, MaxQueue: 2})
		svc := share(l, g)
		for n := range 3 {
			caller(t.Context(), svc, n)
		}
		_, err := svc.Call(t.Context(), 3)
		require.ErrorIs(t, err, adaptive.ErrLimited)
		require.Equal(t, turret.Rejected, turret.Classify(err))
		require.EqualError(t, err, "adaptive: over the limit: at most 1 under way for now, 2 waiting")
		for range 3 {
			g.next()
		}
		require.Equal(t, []int{0, 1, 2}, g.entered)
	})
}

func TestMaxWaitBoundsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		l := adaptive.New(adaptive.Options{Max: 1, MaxWait: time.Second})
		svc := share(l, g)
		caller(t.Context(), svc, 0)
		start := time.Now()
		_, err := svc.Call(t.Context(), 1)
		require.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, err, adaptive.ErrLimited)
		require.EqualError(t, err, "adaptive: over the limit: at most 1 under way for now, 0 waiting, and this one's turn did not come in 1s")
		require.Zero(t, l.Waiting())
		g.next()
	})
}

func TestNoQueueRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		svc := share(adaptive.New(adaptive.Options{Max: 1, MaxQueue: adaptive.NoQueue}), g)
		caller(t.Context(), svc, 0)
		start := time.Now()
		_, err := svc.Call(t.Context(), 1)
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, err, adaptive.ErrLimited)
		require.EqualError(t, err, "adaptive: over the limit: at most 1 under way for now, 0 waiting")
		g.next()
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		l := adaptive.New(adaptive.Options{Max: 1})
		svc := share(l, g)
		caller(t.Context(), svc, 0)
		ctx, cancel := context.WithCancel(t.Context())
		first := caller(ctx, svc, 1)
		second := caller(t.Context(), svc, 2)
		cancel()
		require.Equal(t, context.Canceled, <-first)
		require.Equal(t, 1, l.Waiting(), "it gave up its place")
		g.next()
		g.next()
		require.NoError(t, <-second)
		require.Equal(t, []int{0, 2}, g.entered)
	})
}

func TestACallWhoseContextHasEndedIsNotMade(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := adaptive.New(adaptive.Options{})
	_, err := share(l, turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
		t.Error("called")
		return 0, nil
	})).Call(ctx, 1)
	require.Equal(t, context.Canceled, err)
	require.Zero(t, l.InFlight())
}

// The end of the context comes just before the permit, a thousand times.
func TestAPermitThatComesTooLateGoesToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cancel context.CancelFunc
		l := adaptive.New(adaptive.Options{Max: 1})
		svc := share(l, turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) {
			assert.NotEqual(t, 1, n, "its caller has gone")
			<-time.After(time.Millisecond)
			cancel()
			return n, nil
		}))
		for range 1000 {
			ctx, end := context.WithCancel(t.Context())
			cancel = end
			first := caller(t.Context(), svc, 0)
			second := caller(ctx, svc, 1)
			third := caller(t.Context(), svc, 2)
			require.NoError(t, <-first)
			require.Equal(t, context.Canceled, <-second)
			require.NoError(t, <-third)
			synctest.Wait()
			require.Zero(t, l.InFlight())
		}
	})
}

func TestNoWakeUpIsLost(t *testing.T) {
	svc := share(adaptive.New(adaptive.Options{Max: 1}), returning(0, nil))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10_000 {
				_, err := svc.Call(context.Background(), 1)
				assert.NoError(t, err)
			}
		})
	}
	all.Wait() // else for ever
}

func TestAHigherLimitAdmitsThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l *adaptive.Limit
		var inFlight []int
		l = adaptive.New(adaptive.Options{Initial: 10, OnChange: func(adaptive.Change) {
			inFlight = append(inFlight, l.InFlight())
		}})
		hold := make(chan struct{})
		stuck := share(l, turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
			<-hold
			return 1, nil
		}))
		for range 9 {
			caller(t.Context(), stuck, 1)
		}
		quick := share(l, returning(10*time.Millisecond, nil))
		for range 30 { // one by one, through the permit that is left
			caller(t.Context(), quick, 1)
		}
		<-time.After(205 * time.Millisecond) // the second window makes the limit 11
		synctest.Wait()
		require.Equal(t, []int{11}, inFlight)
		require.Equal(t, 11, l.InFlight())
		close(hold)
		<-time.After(time.Second)
		require.Zero(t, l.InFlight())
	})
}

func TestAsksReadyBelowBeforeItQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errOpen := turret.WithClass(errors.New("breaker: open"), turret.Rejected)
		below := &sometimesReady{gate: newGate()}
		svc := share(adaptive.New(adaptive.Options{Max: 1}), below)
		caller(t.Context(), svc, 0)
		below.err = errOpen
		_, err := svc.Call(t.Context(), 1)
		require.Equal(t, errOpen, err)
		below.next()
	})
}

type sometimesReady struct {
	*gate
	err error
}

func (s *sometimesReady) Ready() error { return s.err }

func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		waits := share(adaptive.New(adaptive.Options{Max: 1, MaxQueue: 1}), g)
		require.NoError(t, turret.Ready(waits))
		caller(t.Context(), waits, 0)
		require.NoError(t, turret.Ready(waits), "a call may wait")
		caller(t.Context(), waits, 1)
		require.ErrorIs(t, turret.Ready(waits), adaptive.ErrLimited)
		g.next()
		require.NoError(t, turret.Ready(waits))
		g.next()

		refuses := share(adaptive.New(adaptive.Options{Max: 1, MaxQueue: adaptive.NoQueue}), g)
		require.NoError(t, turret.Ready(refuses))
		caller(t.Context(), refuses, 0)
		require.ErrorIs(t, turret.Ready(refuses), adaptive.ErrLimited)
		g.next()
		require.NoError(t, turret.Ready(refuses))
	})
}

func TestRetryAfterIsTheTimeThatAllWhoWaitTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Options{Initial: 4, Max: 4, MaxQueue: 7})
		svc := share(l, returning(100*time.Millisecond, nil))
		fill := func() {
			for range 11 {
				caller(t.Context(), svc, 1)
			}
		}
		fill()
		_, err := svc.Call(t.Context(), 1)
		_, known := turret.RetryAfter(err)
		require.False(t, known, "nothing was measured yet")

		<-time.After(time.Second)
		fill()
		_, err = svc.Call(t.Context(), 1)
		after, known := turret.RetryAfter(err)
		require.True(t, known)
		require.Equal(t, 200*time.Millisecond, after, "8 calls, 4 at a time")
		<-time.After(time.Second)
	})
}
