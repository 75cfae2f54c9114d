package concurrency_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/timeout"
)

type service = turret.Service[int, int]

func wrap(o concurrency.Options, next service) service {
	return concurrency.Layer[int, int](o)(next)
}

// backend takes an hour, or less if told to end a call, and notes who is let in.
type backend struct {
	mu       sync.Mutex
	admitted []int
	end      chan struct{}
}

func newBackend() *backend { return &backend{end: make(chan struct{})} }

func (b *backend) Call(ctx context.Context, n int) (int, error) {
	b.mu.Lock()
	b.admitted = append(b.admitted, n)
	b.mu.Unlock()
	select {
	case <-b.end:
	case <-time.After(time.Hour):
	}
	return n, nil
}

func (b *backend) calls() []int {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.admitted
}

// finish lets every call end that is under way or to come.
func (b *backend) finish() {
	close(b.end)
	synctest.Wait()
}

// start makes a call in a goroutine of its own, and returns when it is under
// way, or in the queue.
func start(ctx context.Context, svc service, n int) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := svc.Call(ctx, n)
		done <- err
	}()
	synctest.Wait()
	return done
}

func TestLimitNAdmitsNAndTheNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newBackend()
		svc := wrap(concurrency.Options{Max: 3}, below)
		for n := range 4 {
			start(t.Context(), svc, n)
		}
		require.Equal(t, []int{0, 1, 2}, below.calls())
		below.finish()
		require.Equal(t, []int{0, 1, 2, 3}, below.calls())
	})
}

func TestCompletionWakesExactlyOneFIFO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newBackend()
		svc := wrap(concurrency.Options{Max: 1}, below)
		want := []int{}
		for n := range 20 {
			start(t.Context(), svc, n)
		}
		for n := range 20 {
			want = append(want, n)
			require.Equal(t, want, below.calls())
			below.end <- struct{}{}
		}
	})
}

func TestNewcomerDoesNotOvertakeTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newBackend()
		svc := wrap(concurrency.Options{Max: 1}, below)
		go func() { // comes back at once, when the one that waits has not run yet
			_, _ = svc.Call(t.Context(), 0)
			_, _ = svc.Call(t.Context(), 2)
		}()
		synctest.Wait()
		start(t.Context(), svc, 1)
		below.end <- struct{}{}
		require.Equal(t, []int{0, 1}, below.calls())
		below.finish()
		require.Equal(t, []int{0, 1, 2}, below.calls())
	})
}

// placesAreFree fails unless all of max places are.
func placesAreFree(t *testing.T, limit *concurrency.Limit) {
	t.Helper()
	require.Zero(t, limit.InUse())
	require.Zero(t, limit.Waiting())
	below := newBackend()
	svc := wrap(concurrency.Options{Limit: limit, MaxQueue: concurrency.NoQueue}, below)
	for n := range limit.Max() {
		start(t.Context(), svc, n)
	}
	require.Len(t, below.calls(), limit.Max())
	require.ErrorIs(t, <-start(t.Context(), svc, -1), concurrency.ErrFull)
	below.finish()
	require.Zero(t, limit.InUse())
}

// How calls may end below, and what becomes of the caller.
func TestEveryEndOfACallReleasesItsPlace(t *testing.T) {
	down := errors.New("down")
	for name, end := range map[string]func(context.Context) error{
		"success":    func(context.Context) error { return nil },
		"error":      func(context.Context) error { return down },
		"panic":      func(context.Context) error { panic(down) },
		"nil panic":  func(context.Context) error { panic(nil) },
		"Goexit":     func(context.Context) error { runtime.Goexit(); return nil },
		"its cancel": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := concurrency.New(2)
				svc := wrap(concurrency.Options{Limit: limit}, turret.ServiceFunc[int, int](
					func(ctx context.Context, n int) (int, error) {
						<-time.After(time.Second)
						return n, end(ctx)
					}))
				var returned, panicked, exited atomic.Int32
				var all sync.WaitGroup
				for n := range 10 {
					all.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						defer cancel()
						ended := false
						defer func() {
							switch r := recover(); {
							case ended:
								returned.Add(1)
							case r != nil:
								panicked.Add(1)
							default:
								exited.Add(1)
							}
						}()
						_, _ = svc.Call(ctx, n)
						ended = true
					})
				}
				all.Wait()
				switch name {
				case "panic", "nil panic":
					require.EqualValues(t, 10, panicked.Load())
				case "Goexit":
					require.EqualValues(t, 10, exited.Load())
				default:
					require.EqualValues(t, 10, returned.Load())
				}
				placesAreFree(t, limit)
			})
		})
	}
}

func TestAPanicComesUpAsItWas(t *testing.T) {
	value := &struct{ why string }{"out of cheese"}
	svc := wrap(concurrency.Options{Max: 1}, turret.ServiceFunc[int, int](
		func(context.Context, int) (int, error) { panic(value) }))
	defer func() { require.Same(t, value, recover()) }()
	_, _ = svc.Call(t.Context(), 1)
}

func TestResultPassesThroughUnchanged(t *testing.T) {
	down := errors.New("down")
	type key struct{}
	svc := wrap(concurrency.Options{Max: 1}, turret.ServiceFunc[int, int](
		func(ctx context.Context, n int) (int, error) { return n + ctx.Value(key{}).(int), down }))
	resp, err := svc.Call(context.WithValue(t.Context(), key{}, 30), 7)
	require.Equal(t, 37, resp)
	require.Same(t, down, err)
}

func TestCallWhoseContextHasEndedTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below, limit := newBackend(), concurrency.New(1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := wrap(concurrency.Options{Limit: limit}, below).Call(ctx, 1)
		require.Equal(t, context.Canceled, err)
		require.Empty(t, below.calls())
		placesAreFree(t, limit)
	})
}

func TestCallerWhoLeavesTheQueueIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below, limit := newBackend(), concurrency.New(1)
		svc := wrap(concurrency.Options{Limit: limit}, below)
		start(t.Context(), svc, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		second := start(ctx, svc, 1)
		third := start(t.Context(), svc, 2)

		err := <-second
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "concurrency: waited 1s for one of 1 places: context deadline exceeded")
		require.NotErrorIs(t, err, concurrency.ErrFull)
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))

		below.end <- struct{}{}
		require.Equal(t, []int{0, 2}, below.calls(), "the place went to the next in the queue")
		below.finish()
		require.NoError(t, <-third)
		placesAreFree(t, limit)
	})
}

func TestPlaceThatComesWithTheDeadlineGoesToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 { // the select below picks at random
			below, limit := newBackend(), concurrency.New(1)
			svc := wrap(concurrency.Options{Limit: limit}, below)
			start(t.Context(), svc, 0)
			ctx, cancel := context.WithCancel(t.Context())
			second := start(ctx, svc, 1)
			start(t.Context(), svc, 2)
			cancel()
			below.end <- struct{}{}
			require.ErrorIs(t, <-second, context.Canceled)
			require.Equal(t, []int{0, 2}, below.calls())
			below.finish()
			placesAreFree(t, limit)
		}
	})
}

func TestTimeoutAboveTellsOfTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newBackend()
		svc := turret.Stack(timeout.Layer[int, int](time.Second), concurrency.Layer[int, int](concurrency.Options{Max: 1}))(below)
		start(t.Context(), svc, 0)
		err := <-start(t.Context(), svc, 1)
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.EqualError(t, err, "timeout: no answer within 1s: concurrency: waited 1s for one of 1 places: context deadline exceeded")
		below.finish()
	})
}

func TestMaxQueueBoundsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, maxQueue := range []int{concurrency.NoQueue, 1, 5} {
			below, room := newBackend(), max(maxQueue, 0)
			svc := wrap(concurrency.Options{Max: 2, MaxQueue: maxQueue}, below)
			for n := range 2 + room {
				start(t.Context(), svc, n)
			}
			before := time.Now()
			resp, err := svc.Call(t.Context(), -1)
			require.Zero(t, resp)
			require.Zero(t, time.Since(before), "at once")
			require.ErrorIs(t, err, concurrency.ErrFull)
			require.Equal(t, turret.Rejected, turret.Outcome(t.Context(), err))
			var e *concurrency.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, concurrency.Error{Max: 2, Waiting: room}, *e)

			below.finish()
			require.Len(t, below.calls(), 2+room)
		}
	})
}

func TestDefaultQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newBackend()
		svc := wrap(concurrency.Options{Max: 1}, below)
		for n := range 1 + concurrency.DefaultMaxQueue {
			go func() { _, _ = svc.Call(t.Context(), n) }()
		}
		synctest.Wait()
		_, err := svc.Call(t.Context(), -1)
		require.EqualError(t, err, "concurrency: full: 1 under way, 1024 waiting")
		below.finish()
	})
}

func TestCancelledWaiterMakesRoomInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newBackend()
		svc := wrap(concurrency.Options{Max: 1, MaxQueue: 1}, below)
		start(t.Context(), svc, 0)
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			waiting := start(ctx, svc, 1)
			cancel()
			require.ErrorIs(t, <-waiting, context.Canceled)
		}
		last := start(t.Context(), svc, 2)
		below.finish()
		require.NoError(t, <-last)
	})
}

func TestMaxWaitBoundsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below, limit := newBackend(), concurrency.New(1)
		patient := wrap(concurrency.Options{Limit: limit}, below)
		hasty := wrap(concurrency.Options{Limit: limit, MaxWait: 50 * time.Millisecond}, below)
		start(t.Context(), patient, 0)
		before := time.Now()
		refused := start(t.Context(), hasty, 1)
		second := start(t.Context(), patient, 2)

		err := <-refused
		require.Equal(t, 50*time.Millisecond, time.Since(before))
		require.ErrorIs(t, err, concurrency.ErrFull)
		require.EqualError(t, err, "concurrency: full: 1 under way, 1 waiting, and no place came free in 50ms")
		require.Equal(t, turret.Rejected, turret.Outcome(t.Context(), err))
		_, ok := turret.RetryAfter(err)
		require.False(t, ok, "nobody knows when a place comes free")

		below.finish()
		require.NoError(t, <-second)
		placesAreFree(t, limit)
	})
}

func TestPlaceInTimeEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newBackend()
		svc := wrap(concurrency.Options{Max: 1, MaxWait: time.Second}, below)
		start(t.Context(), svc, 0)
		waiting := start(t.Context(), svc, 1)
		<-time.After(time.Second / 2)
		below.end <- struct{}{}
		<-time.After(time.Minute)
		require.Equal(t, []int{0, 1}, below.calls(), "MaxWait does not bound the call")
		below.finish()
		require.NoError(t, <-waiting)
	})
}

func TestLimitSharedByServicesIsGlobal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit, one, other := concurrency.New(3), newBackend(), newBackend()
		a, b := wrap(concurrency.Options{Limit: limit}, one), wrap(concurrency.Options{Limit: limit}, other)
		for n := range 4 {
			start(t.Context(), a, n)
			start(t.Context(), b, n)
		}
		require.Equal(t, 3, limit.InUse())
		require.Equal(t, 5, limit.Waiting())
		require.Equal(t, []int{0, 1}, one.calls())
		require.Equal(t, []int{0}, other.calls())
		one.finish()
		require.ElementsMatch(t, []int{0, 1, 2}, one.calls(), "a place goes to whoever is next, of either service")
		require.ElementsMatch(t, []int{0, 1, 2}, other.calls())
		other.finish()
		placesAreFree(t, limit)
	})
}

func TestOfTwoServicesTheShorterQueueGivesWayFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit, below := concurrency.New(1), newBackend()
		users := wrap(concurrency.Options{Limit: limit, MaxQueue: 100}, below)
		batch := wrap(concurrency.Options{Limit: limit, MaxQueue: 2}, below)
		for n := range 3 {
			start(t.Context(), batch, n)
		}
		require.ErrorIs(t, <-start(t.Context(), batch, -1), concurrency.ErrFull)
		user := start(t.Context(), users, 3)
		below.finish()
		require.NoError(t, <-user)
	})
}

func TestEachWrappedServiceHasALimitOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer, below := concurrency.Layer[int, int](concurrency.Options{Max: 1}), newBackend()
		start(t.Context(), layer(below), 0)
		start(t.Context(), layer(below), 1)
		require.Equal(t, []int{0, 1}, below.calls())
		below.finish()
	})
}

func TestReadyTellsWhetherACallMadeNowWouldBeAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below, limit := newBackend(), concurrency.New(2)
		queueing := wrap(concurrency.Options{Limit: limit, MaxQueue: 1}, below)
		refusing := wrap(concurrency.Options{Limit: limit, MaxQueue: concurrency.NoQueue}, below)
		require.NoError(t, turret.Ready(refusing))
		start(t.Context(), refusing, 0)
		require.NoError(t, turret.Ready(refusing), "a place is free")
		start(t.Context(), refusing, 1)
		require.ErrorIs(t, turret.Ready(refusing), concurrency.ErrFull)
		require.NoError(t, turret.Ready(queueing), "there is room in the queue")
		start(t.Context(), queueing, 2)
		require.EqualError(t, turret.Ready(queueing), "concurrency: full: 2 under way, 1 waiting")
		require.Equal(t, 2, limit.InUse(), "Ready takes nothing")
		below.finish()
		require.NoError(t, turret.Ready(refusing))
	})
}

// Callers come and go at random, and at no time are more under way than may be.
func TestConcurrentUse(t *testing.T) {
	const max = 3
	limit := concurrency.New(max)
	var under, most, served, gone atomic.Int64
	below := turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		now := under.Add(1)
		defer under.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		runtime.Gosched()
		served.Add(1)
		return n, nil
	})
	services := []service{
		wrap(concurrency.Options{Limit: limit}, below),
		wrap(concurrency.Options{Limit: limit, MaxQueue: 8, MaxWait: 20 * time.Microsecond}, below),
		wrap(concurrency.Options{Limit: limit, MaxQueue: concurrency.NoQueue}, below),
	}
	const callers, calls = 64, 100
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(c)))
			for n := range calls {
				ctx, cancel := context.WithCancel(context.Background())
				if random.IntN(2) == 0 {
					d := time.Duration(random.IntN(100)) * time.Microsecond
					ctx, cancel = context.WithTimeout(context.Background(), d)
				}
				if _, err := services[n%len(services)].Call(ctx, n); err != nil {
					gone.Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	require.EqualValues(t, max, most.Load())
	require.EqualValues(t, callers*calls, served.Load()+gone.Load())
	require.Zero(t, limit.InUse())
	require.Zero(t, limit.Waiting())
	t.Logf("%d served, %d refused or gone", served.Load(), gone.Load())
}

func TestUncontendedCallAllocatesNothing(t *testing.T) {
	svc, ctx := wrap(concurrency.Options{Max: 1}, turret.ServiceFunc[int, int](echo)), t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = svc.Call(ctx, 1) }))
}

func TestOnWaitTellsOfEachCallHowItGotItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var waits []concurrency.Wait
		o := concurrency.Options{Max: 1, MaxWait: 2 * time.Second, OnWait: func(_ context.Context, w concurrency.Wait) {
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, w)
		}}
		svc := wrap(o, turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) {
			<-time.After(time.Duration(n) * time.Second)
			return n, nil
		}))
		var calls sync.WaitGroup
		var last error
		for _, n := range []int{1, 3} { // the second one waits a second
			calls.Go(func() { _, _ = svc.Call(t.Context(), n) })
			synctest.Wait()
		}
		calls.Go(func() { _, last = svc.Call(t.Context(), 1) }) // and the third in vain
		calls.Wait()
		require.Equal(t, []concurrency.Wait{{}, {Waited: time.Second}, {Waited: 2 * time.Second, Err: last}}, waits)
		require.ErrorIs(t, last, concurrency.ErrFull)
	})
}
