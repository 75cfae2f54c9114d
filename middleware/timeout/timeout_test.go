package timeout_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type service = turret.Service[int, int]

// serve returns a service that takes d, ends early with its context's error, and
// otherwise answers.
func serve(d time.Duration) service {
	return turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		select {
		case <-time.After(d):
			return n, nil
		case <-ctx.Done():
			return 0, fmt.Errorf("serve: %w", ctx.Err())
		}
	})
}

func wrap(s service, limits ...time.Duration) service {
	b := turret.NewBuilder[int, int]()
	for _, d := range limits {
		b = turret.With(b, timeout.Layer, d)
	}
	return b.Service(s)
}

func TestExpiryIsErrExceededAndDeadlineExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := wrap(serve(time.Hour), time.Second).Call(t.Context(), 1)
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
		require.EqualError(t, err, "timeout: no answer within 1s: serve: context deadline exceeded")
		require.Equal(t, time.Second, time.Since(start))
		var e *timeout.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, time.Second, e.Limit)
		require.True(t, e.Timeout())
	})
}

func TestExpiryKeepsTheErrorBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := turret.ServiceFunc[int, int](func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, errors.Join(io.ErrUnexpectedEOF, ctx.Err())
		})
		_, err := wrap(s, time.Second).Call(t.Context(), 1)
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
}

// What a service makes of its context's end does not change what it was.
func TestExpiryIsDeadlineExceededWhateverTheServiceMadeOfIt(t *testing.T) {
	for _, said := range []error{context.Canceled, fmt.Errorf("pool: %w", context.Canceled), errors.New("connection closed")} {
		synctest.Test(t, func(t *testing.T) {
			s := turret.ServiceFunc[int, int](func(ctx context.Context, _ int) (int, error) {
				<-ctx.Done()
				return 0, said
			})
			_, err := wrap(s, time.Second).Call(t.Context(), 1)
			require.ErrorIs(t, err, timeout.ErrExceeded)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, said)
			require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
		})
	}
}

// A service may report why its context ended, as net/http does, rather than that it did.
func TestExpiryReportedByCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := turret.ServiceFunc[int, int](func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		_, err := wrap(s, time.Second).Call(t.Context(), 1)
		require.EqualError(t, err, "timeout: no answer within 1s")
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
	})
}

func TestCallersOwnEarlierDeadlineIsNotErrExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := wrap(serve(time.Hour), 2*time.Second).Call(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
	})
}

func TestCallersCancelIsNotErrExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := wrap(serve(time.Hour), 2*time.Second).Call(ctx, 1)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, timeout.ErrExceeded)
	})
}

func TestAnotherTimeoutLayersExpiryIsNotThisOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Only the layer whose time ran out may say so. Seen from between the
		// two, the outer one's expiry is the caller's going away.
		var between error
		var class turret.Class
		spy := turret.LayerFunc("spy", func(ctx context.Context, n int, next service) (int, error) {
			resp, err := next.Call(ctx, n)
			between, class = err, turret.Outcome(ctx, err)
			return resp, err
		})
		inner := turret.Stack(timeout.Layer[int, int](time.Second), spy, timeout.Layer[int, int](2*time.Second))(serve(time.Hour))
		_, err := inner.Call(t.Context(), 1)
		var e *timeout.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, time.Second, e.Limit)
		require.NotErrorIs(t, between, timeout.ErrExceeded)
		require.Equal(t, turret.Canceled, class)

		outer := turret.Stack(timeout.Layer[int, int](2*time.Second), spy, timeout.Layer[int, int](time.Second))(serve(time.Hour))
		_, err = outer.Call(t.Context(), 1)
		require.Same(t, between, err, "the inner one's error passes unchanged")
		require.Equal(t, turret.Transient, class)
	})
}

func TestResponseThatArrivesInTimeWinsAtTheLastInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
			<-ctx.Done()
			return n, nil
		})
		n, err := wrap(s, time.Second).Call(t.Context(), 7)
		require.NoError(t, err)
		require.Equal(t, 7, n)
	})
}

func TestErrorOfTheServicesOwnStaysAtTheLastInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := turret.WithClass(errors.New("denied"), turret.Permanent)
		s := turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
			<-ctx.Done()
			return 0, denied
		})
		_, err := wrap(s, time.Second).Call(t.Context(), 7)
		require.Same(t, denied, err)
	})
}

func TestZeroOrNegativeLimitIsAValidateError(t *testing.T) {
	for _, d := range []time.Duration{0, -1, -time.Hour} {
		err := timeout.Validate(d)
		require.ErrorContains(t, err, "must be above zero")
		require.PanicsWithError(t, err.Error(), func() { timeout.Layer[int, int](d) })
	}
	require.NoError(t, timeout.Validate(1))
}

func TestInnerContextEndsWhenCallReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inner context.Context
		s := turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
			inner = ctx
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			require.Equal(t, time.Minute, time.Until(deadline))
			return n, nil
		})
		_, err := wrap(s, time.Minute).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, context.Canceled, inner.Err())
		<-inner.Done()
		child, cancel := context.WithCancel(inner)
		defer cancel()
		require.Equal(t, context.Canceled, context.Cause(child))
	})
}

// Some services never look at their context, and what became of it is seen only when
// they have failed.
func TestOfTwoTimeoutsThatNobodyLookedAtTheFirstIsTold(t *testing.T) {
	failed := errors.New("failed")
	late := turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
		<-time.After(time.Hour)
		return 0, failed
	})
	for _, limits := range [][]time.Duration{{2 * time.Second, time.Second}, {time.Second, 2 * time.Second}, {time.Second, time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			_, err := wrap(late, limits...).Call(t.Context(), 1)
			var e *timeout.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, time.Second, e.Limit)
			require.ErrorIs(t, err, failed)
			require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
		})
	}
}

func TestCallersCancelIsToldOfAServiceThatNeverLooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		failed := errors.New("failed")
		late := turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
			<-time.After(time.Hour)
			return 0, failed
		})
		_, err := wrap(late, time.Minute).Call(ctx, 1)
		require.Same(t, failed, err)
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
	})
}

func TestDescribe(t *testing.T) {
	require.Equal(t, "timeout 2s\nfunc", turret.Describe(wrap(serve(0), 2*time.Second)))
}

func TestOneAllocationACallUnlessSomebodyAsksForDone(t *testing.T) {
	for _, limits := range [][]time.Duration{{time.Minute}, {time.Minute, time.Second}} {
		s := wrap(turret.ServiceFunc[int, int](answer), limits...)
		require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = s.Call(t.Context(), 1) }), float64(len(limits)))
	}
}

func TestAllocatesTwoMoreThanContextWithTimeoutWhereSomebodyAsks(t *testing.T) {
	s := wrap(turret.ServiceFunc[int, int](askDone), time.Minute)
	layer := testing.AllocsPerRun(1000, func() { _, _ = s.Call(t.Context(), 1) })
	plain := testing.AllocsPerRun(1000, func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		ctx.Done()
		cancel()
	})
	require.LessOrEqual(t, layer, plain+2)
}

func Example() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, timeout.Layer, 10*time.Millisecond)
	svc := b.ServiceFunc(func(ctx context.Context, _ string) (string, error) {
		<-ctx.Done() // a service that hangs
		return "", ctx.Err()
	})

	_, err := svc.Call(context.Background(), "")
	fmt.Println(err)
	fmt.Println(errors.Is(err, timeout.ErrExceeded), errors.Is(err, context.DeadlineExceeded))
	// Output:
	// timeout: no answer within 10ms
	// true true
}

var sink int

// answer touches its context as little as a service can.
func answer(_ context.Context, n int) (int, error) { return n, nil }

func BenchmarkLayer(b *testing.B) {
	s := wrap(turret.ServiceFunc[int, int](answer), time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		sink, _ = s.Call(context.Background(), 1)
	}
}

// BenchmarkLayerDone is the layer above a service that asks for Done, as most that
// use the network do.
func BenchmarkLayerDone(b *testing.B) {
	s := wrap(turret.ServiceFunc[int, int](askDone), time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		sink, _ = s.Call(context.Background(), 1)
	}
}

func askDone(ctx context.Context, n int) (int, error) {
	ctx.Done()
	return n, nil
}

// BenchmarkHandwritten is what one writes without the layer.
func BenchmarkHandwritten(b *testing.B) { benchHandwritten(b, answer) }

func BenchmarkHandwrittenDone(b *testing.B) { benchHandwritten(b, askDone) }

func benchHandwritten(b *testing.B, f turret.ServiceFunc[int, int]) {
	var s service = f
	call := func(ctx context.Context, n int) (int, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return s.Call(ctx, n)
	}
	b.ReportAllocs()
	for b.Loop() {
		sink, _ = call(context.Background(), 1)
	}
}
