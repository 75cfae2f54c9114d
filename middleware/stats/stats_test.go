package stats_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/layertest"
	"github.com/turretgo/turret/middleware/stats"
	"github.com/turretgo/turret/middleware/timeout"
)

// request is for a service that takes so long and returns that error.
type request struct {
	takes time.Duration
	err   error
}

func taking(_ context.Context, r request) (string, error) {
	<-time.After(r.takes)
	return "", r.err
}

func recorded() turret.Service[request, string] {
	return turret.With(turret.NewBuilder[request, string](), stats.Layer, stats.Options{}).ServiceFunc(taking)
}

func snapshot(t *testing.T, svc any) stats.Snapshot {
	s, ok := stats.Of(svc)
	require.True(t, ok)
	return s
}

func TestCallsAreCountedByHowTheyEnd(t *testing.T) {
	svc := recorded()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	call := func(ctx context.Context, err error) {
		_, got := svc.Call(ctx, request{err: err})
		require.Equal(t, err, got)
	}
	down := errors.New("down")
	call(t.Context(), nil)
	call(t.Context(), nil)
	call(t.Context(), down)
	for _, class := range []turret.Class{turret.Transient, turret.Throttled, turret.Permanent, turret.Rejected} {
		call(t.Context(), turret.WithClass(down, class))
	}
	call(gone, context.Canceled)

	s := snapshot(t, svc)
	want := stats.Counts{OK: 2, Unknown: 1, Transient: 1, Throttled: 1, Permanent: 1, Canceled: 1, Rejected: 1}
	require.Equal(t, want, s.Total)
	require.Equal(t, want, s.Minute.Counts)
	require.EqualValues(t, 8, s.Total.Calls())
	require.EqualValues(t, 6, s.Total.Failed())
	require.Zero(t, s.InFlight)
}

// Below the timeout that ends it, a call is Canceled to layers. Who looks at the
// service wants to see that it hangs.
func TestAHangIsTheServicesFailureBelowItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := stats.NewRecorder()
		b := turret.NewBuilder[request, string]()
		b = turret.With(b, timeout.Layer, time.Second)
		b = turret.With(b, stats.Layer, stats.Options{Recorder: r})
		svc := b.ServiceFunc(func(ctx context.Context, _ request) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		_, err := svc.Call(t.Context(), request{})
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, stats.Counts{Transient: 1}, r.Snapshot().Total)

		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = svc.Call(impatient, request{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, stats.Counts{Transient: 1, Canceled: 1}, r.Snapshot().Total, "a caller's own deadline says nothing of the service")
	})
}

func TestPercentilesAreWithinASixteenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := recorded()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() { svc.Call(t.Context(), request{takes: time.Duration(i+1) * time.Millisecond}) })
		}
		synctest.Wait()
		require.EqualValues(t, 1000, snapshot(t, svc).InFlight)
		wg.Wait()
		s := snapshot(t, svc).Minute
		require.InEpsilon(t, 500*time.Millisecond, s.P50, 1./16)
		require.InEpsilon(t, 950*time.Millisecond, s.P95, 1./16)
		require.InEpsilon(t, 990*time.Millisecond, s.P99, 1./16)
		require.Equal(t, time.Second, s.Max)
	})
}

func TestAnyDurationIsWithinASixteenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for d := time.Duration(16_384); d < 40*time.Second; d += d/3 + 1 {
			svc := recorded()
			svc.Call(t.Context(), request{takes: d})
			svc.Call(t.Context(), request{takes: d + d/10})
			require.InEpsilon(t, d, snapshot(t, svc).Minute.P50, 1./16, "%v", d)
		}
	})
}

func TestTheLongestIsTheP99OfFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := recorded()
		svc.Call(t.Context(), request{takes: time.Hour})
		s := snapshot(t, svc).Minute
		require.Equal(t, time.Hour, s.Max, "beyond the last bucket, too")
		require.Equal(t, time.Hour, s.P99)
		svc = recorded()
		svc.Call(t.Context(), request{})
		require.Zero(t, snapshot(t, svc).Minute.P99, "no percentile is above the longest")
	})
}

func TestRefusalsDoNotCountAsLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := recorded()
		svc.Call(t.Context(), request{takes: time.Second})
		for range 100 {
			svc.Call(t.Context(), request{err: turret.WithClass(errors.New("full"), turret.Rejected)})
		}
		require.InEpsilon(t, time.Second, snapshot(t, svc).Minute.P50, 1./16)
	})
}

func TestAMinuteIsForgottenAndTheTotalIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := recorded()
		<-time.After(7 * time.Second)
		svc.Call(t.Context(), request{})
		s := snapshot(t, svc)
		require.Len(t, s.Slots, 2)
		require.EqualValues(t, []uint64{0, 1}, []uint64{s.Slots[0].OK, s.Slots[1].OK})
		require.Equal(t, 2*time.Second, s.Slots[1].Length, "the present slot is short yet")
		require.Equal(t, 7*time.Second, s.Minute.Length)

		<-time.After(49 * time.Second)
		require.EqualValues(t, 1, snapshot(t, svc).Minute.OK, "after 56 seconds")
		<-time.After(10 * time.Second)
		s = snapshot(t, svc)
		require.EqualValues(t, 0, s.Minute.OK, "after 66 seconds")
		require.EqualValues(t, 1, s.Total.OK)
		require.Len(t, s.Slots, 12)

		svc.Call(t.Context(), request{})
		s = snapshot(t, svc)
		require.EqualValues(t, 1, s.Minute.OK, "the old slot is emptied before it is used again")
		require.EqualValues(t, 2, s.Total.OK)
	})
}

func TestTheLastTenErrorsAreKeptLatestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := recorded()
		begun := time.Now()
		require.Empty(t, snapshot(t, svc).Errors)
		for i := range 25 {
			svc.Call(t.Context(), request{takes: time.Second, err: turret.WithClass(fmt.Errorf("error %d", i), turret.Throttled)})
		}
		errs := snapshot(t, svc).Errors
		require.Len(t, errs, 10)
		for i, e := range errs {
			require.EqualError(t, e.Err, fmt.Sprintf("error %d", 24-i))
			require.Equal(t, turret.Throttled, e.Class)
			require.Equal(t, time.Duration(25-i)*time.Second, e.At.Sub(begun))
		}
	})
}

func TestACallThatPanicsOrExitsIsAccountedFor(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			svc := turret.With(turret.NewBuilder[string, string](), stats.Layer, stats.Options{}).
				ServiceFunc(func(context.Context, string) (string, error) { end(); return "", nil })
			done := make(chan any)
			go func() {
				var value any
				defer func() { done <- value }()
				defer func() { value = recover() }()
				svc.Call(t.Context(), "")
			}()
			value := <-done
			require.Equal(t, name == "panic", value == "boom", "it goes on as it was")
			s := snapshot(t, svc)
			require.Zero(t, s.InFlight)
			require.EqualValues(t, 1, s.Total.Unknown)
		})
	}
}

func TestARecorderIsSharedAndOtherwiseFresh(t *testing.T) {
	layer := stats.Layer[request, string](stats.Options{})
	a, b := layer(turret.ServiceFunc[request, string](taking)), layer(turret.ServiceFunc[request, string](taking))
	a.Call(t.Context(), request{})
	require.EqualValues(t, 1, snapshot(t, a).Total.OK)
	require.EqualValues(t, 0, snapshot(t, b).Total.OK)

	r := stats.NewRecorder()
	layer = stats.Layer[request, string](stats.Options{Recorder: r})
	a, b = layer(turret.ServiceFunc[request, string](taking)), layer(turret.ServiceFunc[request, string](taking))
	a.Call(t.Context(), request{})
	b.Call(t.Context(), request{})
	require.EqualValues(t, 2, r.Snapshot().Total.OK)

	_, ok := stats.Of("not a service")
	require.False(t, ok)
}

func TestManyCallersLoseNoCall(t *testing.T) {
	svc := recorded()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := range 200 {
				var err error
				if i%4 == 0 {
					err = errors.New("down")
				}
				svc.Call(t.Context(), request{err: err})
				if i%50 == 0 {
					snapshot(t, svc)
				}
			}
		})
	}
	wg.Wait()
	s := snapshot(t, svc)
	require.EqualValues(t, 64*150, s.Total.OK)
	require.EqualValues(t, 64*50, s.Total.Unknown)
	require.Zero(t, s.InFlight)
}

func TestConformance(t *testing.T) {
	layertest.Run(t, stats.Layer[string, string](stats.Options{}))
}

func TestACallCostsNoAllocation(t *testing.T) {
	svc := turret.With(turret.NewBuilder[int, int](), stats.Layer, stats.Options{}).
		ServiceFunc(func(_ context.Context, n int) (int, error) { return n, nil })
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { svc.Call(ctx, 1) }))
}

func BenchmarkCall(b *testing.B) {
	svc := turret.With(turret.NewBuilder[int, int](), stats.Layer, stats.Options{}).
		ServiceFunc(func(_ context.Context, n int) (int, error) { return n, nil })
	ctx := b.Context()
	b.Run("serial", func(b *testing.B) {
		for b.Loop() {
			svc.Call(ctx, 1)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				svc.Call(ctx, 1)
			}
		})
	})
}
