package loadshed_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/loadshed"
	"github.com/turretgo/turret/middleware/ratelimit"
)

type service = turret.Service[int, int]

func wrap(o loadshed.Options, next service) service { return loadshed.Layer[int, int](o)(next) }

// backend echoes its requests, counts them, and is ready unless closed.
type backend struct {
	calls  atomic.Int32
	closed error
	err    error
}

func (b *backend) Call(_ context.Context, n int) (int, error) {
	b.calls.Add(1)
	return n, b.err
}

func (b *backend) Ready() error { return b.closed }

// closedError is a reason not to be ready.
type closedError struct{ wait time.Duration }

func (e *closedError) Error() string                     { return "closed for lunch" }
func (e *closedError) Class() turret.Class               { return turret.Transient }
func (e *closedError) RetryAfter() (time.Duration, bool) { return e.wait, e.wait > 0 }

func TestReadyPassesThrough(t *testing.T) {
	below := &backend{err: errors.New("down")}
	resp, err := wrap(loadshed.Options{}, below).Call(t.Context(), 7)
	require.Equal(t, 7, resp)
	require.Same(t, below.err, err, "an error from below stays as it is")
	require.EqualValues(t, 1, below.calls.Load())
}

func TestServiceThatCannotTellIsReady(t *testing.T) {
	resp, err := wrap(loadshed.Options{}, turret.ServiceFunc[int, int](echo)).Call(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, 7, resp)
}

func TestNotReadyIsErrOverloadedAtOnceAndInnerIsNotCalled(t *testing.T) {
	below := &backend{closed: errors.New("no")}
	resp, err := wrap(loadshed.Options{}, below).Call(t.Context(), 7)
	require.Zero(t, resp)
	require.ErrorIs(t, err, loadshed.ErrOverloaded)
	require.Zero(t, below.calls.Load())

	below.closed = nil
	_, err = wrap(loadshed.Options{}, below).Call(t.Context(), 7)
	require.NoError(t, err)
}

func TestRefusalKeepsItsReasonAndItsRetryAfter(t *testing.T) {
	reason := &closedError{wait: time.Minute}
	_, err := wrap(loadshed.Options{}, &backend{closed: reason}).Call(t.Context(), 7)
	require.ErrorIs(t, err, reason)
	require.EqualError(t, err, "loadshed: overloaded: closed for lunch")
	require.Equal(t, turret.Rejected, turret.Outcome(t.Context(), err), "whatever the reason's class")
	after, ok := turret.RetryAfter(err)
	require.True(t, ok)
	require.Equal(t, time.Minute, after)

	_, err = wrap(loadshed.Options{}, &backend{closed: &closedError{}}).Call(t.Context(), 7)
	_, ok = turret.RetryAfter(err)
	require.False(t, ok, "no wish is made up")
}

func TestALayerFurtherDownThatIsNotReadySheds(t *testing.T) {
	below := &backend{closed: errors.New("no")}
	svc := turret.Stack(
		loadshed.Layer[int, int](loadshed.Options{}),
		func(next service) service { return turret.ServiceFunc[int, int](next.Call) }, // which tells nothing
		ratelimit.Layer[int, int](ratelimit.Options{Rate: 100}),
	)(below)
	_, err := svc.Call(t.Context(), 7)
	require.ErrorIs(t, err, loadshed.ErrOverloaded)
	require.Zero(t, below.calls.Load())
}

func TestOneReadyReplicaIsEnough(t *testing.T) {
	home, away := &backend{closed: errors.New("home is closed")}, &backend{}
	svc := wrap(loadshed.Options{}, failover.New(failover.Options{}, service(home), service(away)))
	_, err := svc.Call(t.Context(), 7)
	require.NoError(t, err)

	away.closed = errors.New("away is closed")
	_, err = svc.Call(t.Context(), 7)
	require.ErrorIs(t, err, loadshed.ErrOverloaded)
	require.ErrorIs(t, err, home.closed)
	require.ErrorIs(t, err, away.closed)
}

func TestWhatWouldOverflowAQueueIsShed(t *testing.T) {
	limit := concurrency.New(1)
	begun, end := make(chan struct{}), make(chan struct{})
	svc := turret.Stack(
		loadshed.Layer[int, int](loadshed.Options{}),
		concurrency.Layer[int, int](concurrency.Options{Limit: limit, MaxQueue: concurrency.NoQueue}),
	)(turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) {
		begun <- struct{}{}
		<-end
		return n, nil
	}))
	var all sync.WaitGroup
	all.Go(func() { _, _ = svc.Call(context.Background(), 1) })
	<-begun
	_, err := svc.Call(t.Context(), 2)
	require.ErrorIs(t, err, loadshed.ErrOverloaded)
	require.ErrorIs(t, err, concurrency.ErrFull)
	close(end)
	all.Wait()
	require.NoError(t, turret.Ready(svc))
}

func TestCheckSheds(t *testing.T) {
	type background struct{}
	busy := errors.New("memory is short")
	below := &backend{}
	svc := wrap(loadshed.Options{Check: func(ctx context.Context) error {
		if ctx.Value(background{}) != nil {
			return busy
		}
		return nil
	}}, below)

	_, err := svc.Call(context.WithValue(t.Context(), background{}, true), 1)
	require.ErrorIs(t, err, loadshed.ErrOverloaded)
	require.ErrorIs(t, err, busy)
	require.EqualError(t, err, "loadshed: overloaded: memory is short")
	require.Zero(t, below.calls.Load())

	_, err = svc.Call(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, turret.Ready(svc))

	below.closed = errors.New("no")
	_, err = svc.Call(t.Context(), 1)
	require.ErrorIs(t, err, below.closed, "with a check, those below are asked all the same")
}

func TestReadyTellsWhatCheckSays(t *testing.T) {
	busy := errors.New("memory is short")
	svc := wrap(loadshed.Options{Check: func(context.Context) error { return busy }}, &backend{})
	require.ErrorIs(t, turret.Ready(svc), busy)
	require.ErrorIs(t, turret.Ready(svc), loadshed.ErrOverloaded)

	closed := &backend{closed: errors.New("no")}
	require.Equal(t, closed.closed, turret.Ready(wrap(loadshed.Options{}, closed)), "those below speak for themselves")
}

func TestConcurrentUse(t *testing.T) {
	var open atomic.Bool
	below := &backend{}
	svc := wrap(loadshed.Options{Check: func(context.Context) error {
		if open.Load() {
			return nil
		}
		return errors.New("busy")
	}}, below)
	var served atomic.Int32
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for n := range 100 {
				open.Store(n%2 == 0)
				if _, err := svc.Call(context.Background(), n); err == nil {
					served.Add(1)
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, served.Load(), below.calls.Load())
}

func TestPassingThroughAllocatesNothing(t *testing.T) {
	svc, ctx := wrap(loadshed.Options{Check: func(context.Context) error { return nil }}, &backend{}), t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = svc.Call(ctx, 1) }))
}

func TestDescribe(t *testing.T) {
	inner := turret.ServiceFunc[int, int](echo)
	require.Equal(t, "load shed\nfunc", turret.Describe(wrap(loadshed.Options{}, inner)))
	o := loadshed.Options{Check: func(context.Context) error { return nil }}
	require.Equal(t, "load shed, with a check\nfunc", turret.Describe(wrap(o, inner)))
}

func TestNoOptionsAreInvalid(t *testing.T) {
	require.NoError(t, loadshed.Options{}.Validate())
}

func echo(_ context.Context, n int) (int, error) { return n, nil }
