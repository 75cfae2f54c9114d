package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/chaos"
	"github.com/turretgo/turret/middleware/recovery"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type service = turret.Service[int, int]

func echo(_ context.Context, n int) (int, error) { return n, nil }

func wrap(o chaos.Options) service {
	return turret.With(turret.NewBuilder[int, int](), chaos.Layer, o).ServiceFunc(echo)
}

// fates makes n calls, one after another, and says what befell each: "e" an
// error, "h" a hang, "p" a panic, "." nothing. It takes time only inside a bubble.
func fates(ctx context.Context, s service, n int) string {
	seen := make([]byte, n)
	for i := range seen {
		seen[i] = fate(ctx, s)
	}
	return string(seen)
}

func fate(ctx context.Context, s service) (seen byte) {
	defer func() {
		if value := recover(); value == chaos.ErrPanic {
			seen = 'p'
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	switch _, err := s.Call(ctx, 1); {
	case err == nil:
		return '.'
	case errors.Is(err, chaos.ErrInjected):
		return 'e'
	case err == context.DeadlineExceeded:
		return 'h'
	}
	return '?'
}

func count(fates string) map[rune]int {
	seen := map[rune]int{}
	for _, f := range fates {
		seen[f]++
	}
	return seen
}

func TestZeroOptionsInjectNothing(t *testing.T) {
	resp, err := wrap(chaos.Options{}).Call(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, 7, resp)
	require.Equal(t, map[rune]int{'.': 1000}, count(fates(t.Context(), wrap(chaos.Options{}), 1000)))
}

func TestErrorsHangsAndPanicsComeAtTheirRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 20_000
		seen := count(fates(t.Context(), wrap(chaos.Options{ErrorRate: 0.3, HangRate: 0.2, PanicRate: 0.1, Seed: 1}), calls))
		require.InEpsilon(t, 0.3*calls, seen['e'], 0.05)
		require.InEpsilon(t, 0.2*calls, seen['h'], 0.05)
		require.InEpsilon(t, 0.1*calls, seen['p'], 0.05)
		require.InEpsilon(t, 0.4*calls, seen['.'], 0.05)
	})
}

func TestARateOfOneIsEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, map[rune]int{'e': 1000}, count(fates(t.Context(), wrap(chaos.Options{ErrorRate: 1}), 1000)))
		require.Equal(t, map[rune]int{'h': 1000}, count(fates(t.Context(), wrap(chaos.Options{HangRate: 1}), 1000)))
		require.Equal(t, map[rune]int{'p': 1000}, count(fates(t.Context(), wrap(chaos.Options{PanicRate: 1}), 1000)))
	})
}

func TestARunRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := chaos.Options{ErrorRate: 0.3, HangRate: 0.2, PanicRate: 0.1, Seed: 7}
		run := fates(t.Context(), wrap(o), 200)
		require.Equal(t, run, fates(t.Context(), wrap(o), 200))

		layer := chaos.Layer[int, int](o)
		for range 2 {
			s := layer(turret.ServiceFunc[int, int](echo))
			require.Equal(t, run, fates(t.Context(), s, 200), "each service that a layer wraps has fresh dice")
		}
		o.Seed++
		require.NotEqual(t, run, fates(t.Context(), wrap(o), 200), "another seed is another run")
	})
}

func TestLatenciesRepeatAndChangeNothingAboutTheFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := chaos.Options{ErrorRate: 0.3, Seed: 7}
		without := fates(t.Context(), wrap(o), 200)
		o.Latency = chaos.Uniform(0, time.Second)
		var took [2]time.Duration
		for i := range took {
			start := time.Now()
			require.Equal(t, without, fates(t.Context(), wrap(o), 200))
			took[i] = time.Since(start)
		}
		require.NotZero(t, took[0])
		require.Equal(t, took[0], took[1])
	})
}

func TestFaultsAreNoMoreLikelyInSlowCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wrap(chaos.Options{ErrorRate: 0.3, Latency: func(r *rand.Rand) time.Duration {
			return time.Duration(r.Float64() * float64(time.Second))
		}})
		var took time.Duration
		failed := 0
		for range 5000 {
			start := time.Now()
			if _, err := s.Call(t.Context(), 1); err != nil {
				took += time.Since(start)
				failed++
			}
		}
		require.InEpsilon(t, 500*time.Millisecond, took/time.Duration(failed), 0.05)
	})
}

func TestReplicasWithSeedsOfTheirOwnDoNotFailInStep(t *testing.T) {
	a := fates(t.Context(), wrap(chaos.Options{ErrorRate: 0.5, Seed: 1}), 4000)
	b := fates(t.Context(), wrap(chaos.Options{ErrorRate: 0.5, Seed: 2}), 4000)
	both := 0
	for i := range a {
		if a[i] == 'e' && b[i] == 'e' {
			both++
		}
	}
	require.InEpsilon(t, 1000, both, 0.1)
}

func TestConcurrentCallsShareOutTheSameFaults(t *testing.T) {
	o := chaos.Options{ErrorRate: 0.3, PanicRate: 0.1, Seed: 7, Latency: chaos.Uniform(0, 10)}
	s := wrap(o)
	var errs, panics atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 25 {
				switch fate(context.Background(), s) {
				case 'e':
					errs.Add(1)
				case 'p':
					panics.Add(1)
				}
			}
		})
	}
	all.Wait()
	one := count(fates(t.Context(), wrap(o), 64*25))
	require.EqualValues(t, one['e'], errs.Load())
	require.EqualValues(t, one['p'], panics.Load())
}

func TestErrorIsTransientUnlessSet(t *testing.T) {
	_, err := wrap(chaos.Options{ErrorRate: 1}).Call(t.Context(), 1)
	require.Equal(t, chaos.ErrInjected, err)
	require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
	require.EqualError(t, err, "chaos: injected error")

	busy := turret.WithClass(errors.New("busy"), turret.Throttled)
	_, err = wrap(chaos.Options{ErrorRate: 1, Err: busy}).Call(t.Context(), 1)
	require.Equal(t, busy, err, "as the service itself would say it")
}

func TestOnlyACallWithoutFaultReachesTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reached := 0
		o := chaos.Options{ErrorRate: 0.3, HangRate: 0.2, PanicRate: 0.1}
		s := chaos.Layer[int, int](o)(turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { reached++; return n, nil }))
		require.Equal(t, count(fates(t.Context(), s, 500))['.'], reached)
	})
}

func TestHangEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		start := time.Now()
		_, err := wrap(chaos.Options{HangRate: 1}).Call(ctx, 1)
		require.Equal(t, context.Canceled, err)
		require.Equal(t, time.Hour, time.Since(start))
	})
}

func TestHangIsATimeoutToTheLayerAbove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := turret.With(turret.NewBuilder[int, int](), timeout.Layer, time.Second)
		b = turret.With(b, chaos.Layer, chaos.Options{HangRate: 1})
		_, err := b.ServiceFunc(echo).Call(t.Context(), 1)
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
	})
}

func TestPanicIsErrPanic(t *testing.T) {
	require.PanicsWithValue(t, chaos.ErrPanic, func() { _, _ = wrap(chaos.Options{PanicRate: 1}).Call(t.Context(), 1) })

	b := turret.With(turret.NewBuilder[int, int](), recovery.Layer, recovery.Options{})
	b = turret.With(b, chaos.Layer, chaos.Options{PanicRate: 1})
	_, err := b.ServiceFunc(echo).Call(t.Context(), 1)
	require.ErrorIs(t, err, chaos.ErrPanic)
}

func TestLatencyComesBeforeTheServiceAndBeforeAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := chaos.Options{Latency: chaos.Uniform(time.Second, time.Second)}
		var reached time.Time
		start := time.Now()
		s := chaos.Layer[int, int](o)(turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { reached = time.Now(); return n, nil }))
		resp, err := s.Call(t.Context(), 7)
		require.NoError(t, err)
		require.Equal(t, 7, resp)
		require.Equal(t, time.Second, reached.Sub(start))

		o.ErrorRate = 1
		start = time.Now()
		_, err = wrap(o).Call(t.Context(), 1)
		require.Equal(t, chaos.ErrInjected, err)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestLatencyEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := wrap(chaos.Options{Latency: chaos.Uniform(time.Hour, time.Hour)}).Call(ctx, 1)
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestLatencyBelowZeroIsNone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it would end a wait
	_, err := wrap(chaos.Options{Latency: func(*rand.Rand) time.Duration { return -1 }}).Call(ctx, 1)
	require.NoError(t, err)
}

func TestALatencyThatPanicsLocksNobodyOut(t *testing.T) {
	first := true
	s := wrap(chaos.Options{Latency: func(*rand.Rand) time.Duration {
		if first {
			first = false
			panic("oops")
		}
		return 0
	}})
	require.Panics(t, func() { _, _ = s.Call(t.Context(), 1) })
	_, err := s.Call(t.Context(), 1)
	require.NoError(t, err)
}

func TestWhenSaysWhichCallsAreMeddledWith(t *testing.T) {
	type marked struct{}
	on := context.WithValue(t.Context(), marked{}, true)
	o := chaos.Options{ErrorRate: 0.5, Seed: 7}
	always := fates(t.Context(), wrap(o), 100)

	o.When = func(ctx context.Context) bool { return ctx.Value(marked{}) != nil }
	s := wrap(o)
	require.Equal(t, map[rune]int{'.': 100}, count(fates(t.Context(), s, 100)))
	require.Equal(t, always, fates(on, s, 100), "no dice were rolled for the others")
}

func TestUniformIsFromLoToHi(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	seen := map[time.Duration]bool{}
	for range 1000 {
		seen[chaos.Uniform(3, 5)(r)] = true
	}
	require.Equal(t, map[time.Duration]bool{3: true, 4: true, 5: true}, seen)
	require.Equal(t, time.Second, chaos.Uniform(time.Second, time.Second)(r))
	require.GreaterOrEqual(t, chaos.Uniform(0, math.MaxInt64)(r), time.Duration(0))
	require.PanicsWithError(t, "chaos: Uniform from -1ns to 1ns; it must go from 0 or more to no less than that", func() { chaos.Uniform(-1, 1) })
	require.Panics(t, func() { chaos.Uniform(2, 1) })
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		o    chaos.Options
		want string // part of the error; none if empty
	}{
		{chaos.Options{}, ""},
		{chaos.Options{ErrorRate: 1}, ""},
		{chaos.Options{ErrorRate: 0.1, HangRate: 0.2, PanicRate: 0.7}, ""},
		{chaos.Options{ErrorRate: 0.7, HangRate: 0.2, PanicRate: 0.1}, ""},
		{chaos.Options{ErrorRate: -0.1}, "ErrorRate is -0.1; it is a share of the calls, from 0 to 1"},
		{chaos.Options{ErrorRate: 1.1}, "ErrorRate is 1.1"},
		{chaos.Options{HangRate: math.NaN()}, "HangRate is NaN"},
		{chaos.Options{PanicRate: math.Inf(1)}, "PanicRate is +Inf"},
		{chaos.Options{ErrorRate: 0.5, HangRate: 0.5, PanicRate: 0.5}, "add up to 1.5"},
	} {
		err := tc.o.Validate()
		if tc.want == "" {
			require.NoError(t, err)
			require.NotPanics(t, func() { wrap(tc.o) })
			continue
		}
		require.ErrorContains(t, err, "chaos: ")
		require.ErrorContains(t, err, tc.want)
		require.PanicsWithError(t, err.Error(), func() { chaos.Layer[int, int](tc.o) })
	}
}

func TestDescribe(t *testing.T) {
	require.Equal(t, "chaos without faults\nfunc", turret.Describe(wrap(chaos.Options{})))
	o := chaos.Options{ErrorRate: 0.1, HangRate: 0.01, PanicRate: 0.0025, Latency: chaos.Uniform(0, 1), Seed: 7}
	require.Equal(t, "chaos 10% errors, 1% hangs, 0.25% panics, latency, seed 7\nfunc", turret.Describe(wrap(o)))
}

func TestSuccessAllocatesNothing(t *testing.T) {
	s, ctx := wrap(chaos.Options{ErrorRate: 0.5, Latency: chaos.Uniform(0, 0)}), t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Call(ctx, 1) }))
}

func ExampleLayer() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, retry.Layer, retry.Options{
		Backoff: retry.Backoff{Min: time.Millisecond},
		OnRetry: func(_ context.Context, e retry.Event) { fmt.Println(e.Err) },
	})
	b = turret.With(b, chaos.Layer, chaos.Options{
		ErrorRate: 0.5,
		Latency:   chaos.Uniform(0, time.Millisecond),
		Seed:      3,
	})
	greet := b.ServiceFunc(func(_ context.Context, name string) (string, error) { return "hello " + name, nil })

	for _, name := range []string{"Ada", "Grace", "Barbara"} {
		fmt.Println(greet.Call(context.Background(), name))
	}
	// Output:
	// hello Ada <nil>
	// chaos: injected error
	// hello Grace <nil>
	// chaos: injected error
	// hello Barbara <nil>
}

// A switch turns chaos on and off while the stack runs.
func ExampleOptions_when() {
	var gameDay atomic.Bool
	b := turret.With(turret.NewBuilder[string, string](), chaos.Layer, chaos.Options{
		ErrorRate: 1,
		When:      func(context.Context) bool { return gameDay.Load() },
	})
	greet := b.ServiceFunc(func(_ context.Context, name string) (string, error) { return "hello " + name, nil })

	fmt.Println(greet.Call(context.Background(), "Ada"))
	gameDay.Store(true)
	_, err := greet.Call(context.Background(), "Ada")
	fmt.Println(err)
	// Output:
	// hello Ada <nil>
	// chaos: injected error
}

func BenchmarkLayer(b *testing.B) {
	bench(b, wrap(chaos.Options{PanicRate: 1e-300, Latency: chaos.Uniform(0, 0)}))
}

func BenchmarkLayerSwitchedOff(b *testing.B) {
	bench(b, wrap(chaos.Options{ErrorRate: 1, When: func(context.Context) bool { return false }}))
}

func bench(b *testing.B, s service) {
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Call(ctx, 1); err != nil {
			b.Fatal(err)
		}
	}
}
