package coalesce_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/coalesce"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type service = turret.Service[string, *answer]

type answer struct{ n int64 }

// backend takes a second to answer, or to say err.
type backend struct {
	err   error
	calls atomic.Int64
	under atomic.Int64 // calls that have not returned
	last  atomic.Pointer[context.Context]
}

func (b *backend) Call(ctx context.Context, _ string) (*answer, error) {
	n := b.calls.Add(1)
	b.under.Add(1)
	defer b.under.Add(-1)
	b.last.Store(&ctx)
	select {
	case <-time.After(time.Second):
		return &answer{n}, b.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ctx is the context of the last call.
func (b *backend) ctx() context.Context { return *b.last.Load() }

func wrap(s service) service {
	itself := func(req string) string { return req }
	return turret.With(turret.NewBuilder[string, *answer](), coalesce.Layer, itself).Service(s)
}

// result is how a call ended, and when.
type result struct {
	got *answer
	err error
	at  time.Time
}

// start makes a call in a goroutine of its own, and waits until all is quiet.
func start(ctx context.Context, s service, req string) <-chan result {
	ended := make(chan result, 1)
	go func() {
		got, err := s.Call(ctx, req)
		ended <- result{got, err, time.Now()}
	}()
	synctest.Wait()
	return ended
}

func TestEqualRequestsInFlightShareOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		s := wrap(b)
		began := time.Now()
		first := start(t.Context(), s, "a")
		<-time.After(900 * time.Millisecond)
		second, other := start(t.Context(), s, "a"), start(t.Context(), s, "b")
		r1, r2, r3 := <-first, <-second, <-other
		require.NoError(t, errors.Join(r1.err, r2.err, r3.err))
		require.Same(t, r1.got, r2.got)
		require.Equal(t, time.Second, r2.at.Sub(began), "it came along for the last 100 ms")
		require.NotSame(t, r1.got, r3.got)
		require.EqualValues(t, 2, b.calls.Load())
	})
}

func TestResultsAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		s := wrap(b)
		for range 3 {
			_, err := s.Call(t.Context(), "a")
			require.NoError(t, err)
		}
		require.EqualValues(t, 3, b.calls.Load())
	})
}

func TestOneCallersCancelDoesNotEndTheOthers(t *testing.T) {
	for _, whose := range []string{"first", "second"} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{}
			s := wrap(b)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var leaves, stays <-chan result
			if whose == "first" {
				leaves, stays = start(ctx, s, "a"), start(t.Context(), s, "a")
			} else {
				stays, leaves = start(t.Context(), s, "a"), start(ctx, s, "a")
			}
			cancel()
			began := time.Now()
			gone := <-leaves
			require.Equal(t, context.Canceled, gone.err)
			require.Zero(t, gone.at.Sub(began), "who leaves does so at once")
			r := <-stays
			require.NoError(t, r.err)
			require.Equal(t, time.Second, r.at.Sub(began))
			require.EqualValues(t, 1, b.calls.Load())
		})
	}
}

func TestTheLastOnesCancelEndsTheSharedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		s := wrap(b)
		why := errors.New("shutting down")
		one, cancelOne := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancelOne()
		two, cancelTwo := context.WithCancelCause(t.Context())
		first, second := start(one, s, "a"), start(two, s, "a")
		r := <-first
		require.Equal(t, context.DeadlineExceeded, r.err)
		synctest.Wait()
		require.EqualValues(t, 1, b.under.Load())
		cancelTwo(why)
		require.Equal(t, context.Canceled, (<-second).err)
		synctest.Wait()
		require.Zero(t, b.under.Load())
		require.Equal(t, why, context.Cause(b.ctx()))
	})
}

func TestAfterTheLastOneLeftANewCallIsStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		slowToEnd := turret.ServiceFunc[string, *answer](func(ctx context.Context, _ string) (*answer, error) {
			n := calls.Add(1)
			<-time.After(time.Second)
			return &answer{n}, ctx.Err()
		})
		s := wrap(slowToEnd)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := s.Call(ctx, "a")
		require.Equal(t, context.DeadlineExceeded, err)

		second := start(t.Context(), s, "a") // while the first call has not returned yet
		<-time.After(900 * time.Millisecond) // now it has
		third := start(t.Context(), s, "a")
		r2, r3 := <-second, <-third
		require.NoError(t, r2.err)
		require.EqualValues(t, 2, r2.got.n)
		require.Same(t, r2.got, r3.got, "and the old one's end does not end that")
		require.EqualValues(t, 2, calls.Load())
	})
}

func TestACallerWhoHasGoneStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := wrap(b).Call(ctx, "a")
		require.Equal(t, context.Canceled, err)
		synctest.Wait()
		require.Zero(t, b.calls.Load())
	})
}

// ending is a context that ends while its Done is looked at, two seconds later.
type ending struct {
	context.Context
	ended bool
}

func (e *ending) Done() <-chan struct{} {
	<-time.After(2 * time.Second)
	e.ended = true
	done := make(chan struct{})
	close(done)
	return done
}

func (e *ending) Err() error {
	if e.ended {
		return context.Canceled
	}
	return nil
}

func TestAnAnswerThatArrivesInTimeWinsAtTheLastInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			_, err := wrap(&backend{}).Call(&ending{Context: t.Context()}, "a")
			require.NoError(t, err)
		}
	})
}

func TestTheSharedCallHasTheFirstCallersValuesAndNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		s := wrap(b)
		type key struct{}
		first, cancelFirst := context.WithTimeout(context.WithValue(t.Context(), key{}, "first"), 500*time.Millisecond)
		defer cancelFirst()
		second, cancelSecond := context.WithTimeout(context.WithValue(t.Context(), key{}, "second"), time.Hour)
		defer cancelSecond()
		r1, r2 := start(first, s, "a"), start(second, s, "a")
		require.Equal(t, context.DeadlineExceeded, (<-r1).err)
		require.NoError(t, (<-r2).err)
		require.Equal(t, "first", b.ctx().Value(key{}))
		_, bounded := b.ctx().Deadline()
		require.False(t, bounded)
	})
}

func TestTheSharedCallsContextEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		require.NoError(t, (<-start(t.Context(), wrap(b), "a")).err)
		synctest.Wait()
		require.ErrorIs(t, b.ctx().Err(), context.Canceled)
		require.NoError(t, t.Context().Err())
	})
}

func TestAnErrorIsEveryCallersAndMeansTheSameToEach(t *testing.T) {
	throttled := turret.WithClass(errors.New("slow down"), turret.Throttled)
	limit := timeout.Layer[string, *answer](10 * time.Millisecond)
	for name, tc := range map[string]struct {
		inner service
		is    error
		want  turret.Class
	}{
		"the service's":          {&backend{err: throttled}, throttled, turret.Throttled},
		"a time limit's":         {limit(&backend{}), timeout.ErrExceeded, turret.Transient},
		"the service's own stop": {&backend{err: context.Canceled}, context.Canceled, turret.Transient},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := wrap(tc.inner)
			for _, ended := range []<-chan result{start(t.Context(), s, "a"), start(t.Context(), s, "a")} {
				r := <-ended
				require.ErrorIs(t, r.err, tc.is, name)
				require.Equal(t, tc.want, turret.Outcome(t.Context(), r.err), name)
			}
		})
	}
}

func TestBelowALeaversCancelIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var class turret.Class
		spy := turret.LayerFunc("spy", func(ctx context.Context, req string, next service) (*answer, error) {
			resp, err := next.Call(ctx, req)
			class = turret.Outcome(ctx, err)
			return resp, err
		})
		for _, cause := range []error{nil, errors.New("why"), turret.ErrOutrun} {
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := start(ctx, wrap(spy(&backend{})), "a")
			cancel(cause)
			<-ended
			synctest.Wait()
			require.Equal(t, turret.Canceled, class)
		}
	})
}

func TestARetryAboveIsItsCallersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{err: errors.New("down")}
		s := retry.Layer[string, *answer](retry.Options{MaxAttempts: 3})(wrap(b))
		one, two := start(t.Context(), s, "a"), start(t.Context(), s, "a")
		for _, r := range []result{<-one, <-two} {
			var e *retry.Error
			require.ErrorAs(t, r.err, &e)
			require.Len(t, e.Attempts, 3)
		}
	})
}

func TestAPanicOrGoexitComesUpInEveryCaller(t *testing.T) {
	for want, do := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int64
			s := wrap(turret.ServiceFunc[string, *answer](func(context.Context, string) (*answer, error) {
				calls.Add(1)
				<-time.After(time.Second)
				do()
				return nil, nil
			}))
			var ends [3]string
			var wg sync.WaitGroup
			for i := range ends {
				wg.Go(func() {
					ends[i] = "Goexit"
					defer func() {
						if r := recover(); r != nil {
							ends[i] = "panic"
							assert.Equal(t, "boom", r)
						}
					}()
					_, _ = s.Call(t.Context(), "a")
					ends[i] = "returned"
				})
			}
			wg.Wait()
			require.Equal(t, [3]string{want, want, want}, ends)
			require.EqualValues(t, 1, calls.Load())

			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := s.Call(ctx, "a")
			require.Equal(t, context.DeadlineExceeded, err, "a new call, and nobody there when it panics")
			<-time.After(time.Hour)
			require.EqualValues(t, 2, calls.Load())
		})
	}
}

func TestAPanicOfTheKeyHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := coalesce.Layer[any, any, int](func(req any) any { return req })(turret.ServiceFunc[any, int](func(context.Context, any) (int, error) { return 1, nil }))
		require.Panics(t, func() { _, _ = s.Call(t.Context(), []int{1}) }, "a slice is no key")
		_, err := s.Call(t.Context(), 1)
		require.NoError(t, err)
	})
}

func TestAKeyThatDoesNotEqualItselfIsSharedWithNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		s := coalesce.Layer[float64, string, *answer](func(string) float64 { return math.NaN() })(b)
		one, two := start(t.Context(), s, "a"), start(t.Context(), s, "a")
		require.NoError(t, (<-one).err)
		require.NoError(t, (<-two).err)
		require.EqualValues(t, 2, b.calls.Load())
	})
	direct := coalesce.Layer[float64, int, int](func(int) float64 { return math.NaN() })(echo)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = direct.Call(t.Context(), 1) }), "nothing is kept under it")
}

func TestServicesDoNotShareWithEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := coalesce.Layer[string, string, *answer](func(req string) string { return req })
		a, b := &backend{}, &backend{}
		one, two := start(t.Context(), layer(a), "a"), start(t.Context(), layer(b), "a")
		require.NotSame(t, (<-one).got, (<-two).got)
	})
}

// Callers come and leave at random. No one gets another's cancellation, an
// answer to another request, or no answer at all; and nothing is left behind.
func TestRandomCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var under atomic.Int64
		s := coalesce.Layer[int, int, int](func(req int) int { return req })(
			turret.ServiceFunc[int, int](func(ctx context.Context, req int) (int, error) {
				under.Add(1)
				defer under.Add(-1)
				select {
				case <-time.After(1 + rand.N(10*time.Millisecond)):
					return req, nil
				case <-ctx.Done():
					return 0, fmt.Errorf("backend: %w", ctx.Err())
				}
			}))
		var wg sync.WaitGroup
		var answered, left atomic.Int64
		for range 64 {
			wg.Go(func() {
				for range 100 {
					<-time.After(1 + rand.N(5*time.Millisecond))
					req := rand.N(4)
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(10*time.Millisecond)+1)
					began := time.Now()
					deadline, _ := ctx.Deadline()
					got, err := s.Call(ctx, req)
					if err == nil {
						answered.Add(1)
						assert.Equal(t, req, got)
					} else {
						left.Add(1)
						assert.Equal(t, context.DeadlineExceeded, err)
						assert.Equal(t, deadline.Sub(began), time.Since(began))
					}
					cancel()
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		require.Zero(t, under.Load())
		require.Greater(t, answered.Load(), int64(1000))
		require.Greater(t, left.Load(), int64(1000))
	})
}

func TestRandomCancelsInRealTime(t *testing.T) {
	s := coalesce.Layer[int, int, int](func(req int) int { return req })(
		turret.ServiceFunc[int, int](func(ctx context.Context, req int) (int, error) {
			for range rand.N(20) {
				runtime.Gosched()
			}
			return req, ctx.Err()
		}))
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					for range rand.N(20) {
						runtime.Gosched()
					}
					cancel()
				}()
				req := rand.N(4)
				got, err := s.Call(ctx, req)
				if err == nil {
					assert.Equal(t, req, got)
				} else {
					assert.Error(t, ctx.Err(), "only who has gone is told so")
				}
			}
		})
	}
	wg.Wait()
}

func TestLayerNeedsAKey(t *testing.T) {
	require.PanicsWithValue(t, "coalesce: Layer needs a function that tells a request's key; it was given nil",
		func() { coalesce.Layer[string, string, string](nil) })
}

func TestDescribe(t *testing.T) {
	require.Equal(t, "coalesce\n*coalesce_test.backend", turret.Describe(wrap(&backend{})))
}
