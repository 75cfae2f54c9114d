package throttle_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/throttle"
)

type service = turret.Service[int, int]

func wrap(o throttle.Options, next service) service { return throttle.Layer[int, int](o)(next) }

var errBusy = turret.WithClass(errors.New("slow down"), turret.Throttled)

// never is longer than any test takes.
const never = 1000 * time.Hour

// seeded is a source of random numbers that is the same in every run.
func seeded() func() float64 { return rand.New(rand.NewPCG(1, 2)).Float64 }

// worst is the random number that refuses whatever can be refused.
func worst() float64 { return 0 }

// backend answers err, and counts.
type backend struct {
	calls atomic.Int64
	err   error
}

func (b *backend) Call(_ context.Context, n int) (int, error) {
	b.calls.Add(1)
	return n, b.err
}

// quota is a service that throttles what goes beyond its quota.
type quota struct {
	limit                *rate.Limiter
	accepted, turnedDown int
}

func (q *quota) Call(_ context.Context, n int) (int, error) {
	if !q.limit.Allow() {
		q.turnedDown++
		return 0, errBusy
	}
	q.accepted++
	return n, nil
}

// call makes n calls, one every interval, and returns how many were refused here.
func call(t *testing.T, svc service, n int, interval time.Duration) (refused int) {
	for range n {
		if _, err := svc.Call(t.Context(), 1); errors.Is(err, throttle.ErrRefused) {
			refused++
		}
		<-time.After(interval)
	}
	return refused
}

func TestServiceThatAcceptsIsNotThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &backend{}
		svc := wrap(throttle.Options{Rand: worst, Probe: never}, below)
		require.Zero(t, call(t, svc, 10_000, time.Millisecond))
		require.EqualValues(t, 10_000, below.calls.Load())
	})
}

func TestServiceThatRefusesLessThanHalfIsNotThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		below := turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
			if n++; n%5 == 0 || n%5 == 2 {
				return 0, errBusy
			}
			return n, nil
		})
		require.Zero(t, call(t, wrap(throttle.Options{Rand: worst, Probe: never}, below), 10_000, 10*time.Millisecond))
	})
}

func TestResultPassesThroughUnchanged(t *testing.T) {
	resp, err := wrap(throttle.Options{}, &backend{err: errBusy}).Call(t.Context(), 7)
	require.Equal(t, 7, resp)
	require.Same(t, errBusy, err)
}

func TestRefusesInProportionToWhatTheServiceRefuses(t *testing.T) {
	for _, tt := range []struct {
		accepts, refusals int64
		k, p              float64
	}{
		{0, 1, 0, 0.5}, // (1-0)/2
		{0, 9, 0, 0.9}, // (9-0)/10
		{10, 10, 0, 0}, // (20-20)/21
		{10, 11, 0, 1. / 22},
		{10, 89, 0, 0.79},  // (99-20)/100
		{10, 89, 5, 0.49},  // (99-50)/100
		{10, 89, 1, 0.89},  // (99-10)/100
		{10, 89, 9.9, 0},   // (99-99)/100
		{1, 998, 0, 0.997}, // (999-2)/1000
	} {
		ask := func(d float64) error {
			random := 1.0 // refuses nothing
			below := &backend{}
			svc := wrap(throttle.Options{K: tt.k, Probe: never, Rand: func() float64 { return random }}, below)
			for range tt.accepts {
				_, _ = svc.Call(t.Context(), 0)
			}
			below.err = errBusy
			for range tt.refusals {
				_, _ = svc.Call(t.Context(), 0)
			}
			random = tt.p + d
			_, err := svc.Call(t.Context(), 0)
			return err
		}
		require.Equal(t, errBusy, ask(0), "%+v: a random number of p", tt)
		if tt.p == 0 {
			require.Equal(t, errBusy, ask(-1), "%+v: whatever the random number", tt)
			continue
		}
		var e *throttle.Error
		require.ErrorAs(t, ask(-1e-9), &e, "%+v: a random number below p", tt)
		require.Equal(t, tt.accepts, e.Accepts)
		require.Equal(t, tt.accepts+tt.refusals, e.Requests)
		require.InDelta(t, tt.p, e.Probability, 1e-12)
	}
}

func TestServiceThatRefusesIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, demand := range []int{50, 200, 500} { // a second
			below := &quota{limit: rate.NewLimiter(10, 5)}
			svc := wrap(throttle.Options{Rand: seeded()}, below)
			interval := time.Second / time.Duration(demand)
			call(t, svc, 30*demand, interval) // to find out
			below.accepted, below.turnedDown = 0, 0
			refused := call(t, svc, 30*demand, interval)

			t.Logf("%d/s: %d accepted, %d turned down there, %d refused here", demand, below.accepted, below.turnedDown, refused)
			sent := float64(below.accepted + below.turnedDown)
			require.Less(t, sent, 2.3*float64(below.accepted), "about K calls for one accepted, however many are made")
			require.Greater(t, float64(below.accepted), 0.9*10*30, "and the quota is used")
		}
	})
}

func TestRefusalHereCountsAsRequested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		history := throttle.NewHistory(time.Minute)
		below := &backend{err: errBusy}
		svc := wrap(throttle.Options{History: history, Rand: worst, Probe: never}, below)
		require.Equal(t, 9, call(t, svc, 10, 0), "all but the first, which knows nothing")
		requests, accepts := history.Counts()
		require.EqualValues(t, 10, requests)
		require.Zero(t, accepts)
	})
}

func TestATrickleGetsThroughAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &backend{err: errBusy}
		svc := wrap(throttle.Options{Rand: worst}, below) // the odds alone would refuse all
		require.Positive(t, call(t, svc, 5*1000, time.Millisecond))
		below.calls.Store(0)
		call(t, svc, 10*1000, time.Millisecond)
		require.InDelta(t, 10, below.calls.Load(), 1, "one each second")
	})
}

func TestTheOddsAloneLetATrickleThroughToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &backend{err: errBusy}
		svc := wrap(throttle.Options{Rand: seeded(), Probe: never, Window: 10 * time.Second}, below)
		call(t, svc, 20*1000, time.Millisecond)
		below.calls.Store(0)
		call(t, svc, 20*1000, time.Millisecond)
		t.Logf("%d of 20000 went through", below.calls.Load())
		require.Positive(t, below.calls.Load())
		require.Less(t, below.calls.Load(), int64(20))
	})
}

func TestCallThatWentThroughPutsOffTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := 1.0
		below := &backend{err: errBusy}
		svc := wrap(throttle.Options{Rand: func() float64 { return random }, Probe: time.Second}, below)
		call(t, svc, 20, 0)
		random = 0
		require.Equal(t, 1, call(t, svc, 1, 999*time.Millisecond))
		random = 1
		require.Zero(t, call(t, svc, 1, 999*time.Millisecond))
		random = 0
		require.Equal(t, 1, call(t, svc, 1, time.Millisecond))
		require.Zero(t, call(t, svc, 1, 0), "a second after the last that went through")
	})
}

func TestForgetsWithItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &backend{err: errBusy}
		svc := wrap(throttle.Options{Rand: worst, Window: 10 * time.Second, Probe: never}, below)
		require.Positive(t, call(t, svc, 100, time.Millisecond))
		below.err = nil
		<-time.After(9 * time.Second)
		require.Equal(t, 1, call(t, svc, 1, 0), "it remembers still")
		<-time.After(10 * time.Second)
		require.Zero(t, call(t, svc, 100, time.Millisecond))
	})
}

func TestForgetsAcceptsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &backend{}
		svc := wrap(throttle.Options{Rand: worst, Window: 10 * time.Second, Probe: never}, below)
		call(t, svc, 1000, time.Millisecond)
		below.err = errBusy
		require.Zero(t, call(t, svc, 100, time.Millisecond), "it refuses a tenth only")
		<-time.After(10 * time.Second)
		require.Equal(t, 99, call(t, svc, 100, time.Millisecond), "all but the first, which knows nothing")
	})
}

func TestRecoversInAFewWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, demand := range []int{10, 100, 1000} { // a second
			below := &backend{err: errBusy}
			svc := wrap(throttle.Options{Rand: seeded(), Window: 10 * time.Second}, below)
			interval := time.Second / time.Duration(demand)
			call(t, svc, 20*demand, interval)
			below.err = nil
			seconds := 0
			for call(t, svc, demand, interval) > 0 {
				seconds++
				require.Less(t, seconds, 60)
			}
			t.Logf("%d/s: refuses nothing %ds after the service recovered", demand, seconds)
		}
	})
}

func TestClassesCountAsTheTableSays(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	other := errors.New("other")
	for name, tt := range map[string]struct {
		ctx               context.Context
		err               error
		requests, accepts int64
	}{
		"success":                 {t.Context(), nil, 1, 1},
		"success, caller is gone": {gone, nil, 1, 1},
		"permanent":               {t.Context(), turret.WithClass(other, turret.Permanent), 1, 1},
		"transient":               {t.Context(), turret.WithClass(other, turret.Transient), 1, 1},
		"unknown":                 {t.Context(), other, 1, 1},
		"canceled by the service": {t.Context(), context.Canceled, 1, 1},
		"throttled":               {t.Context(), errBusy, 1, 0},
		"rejected":                {t.Context(), turret.WithClass(other, turret.Rejected), 0, 0},
		"canceled by the caller":  {gone, context.Canceled, 0, 0},
	} {
		history := throttle.NewHistory(time.Minute)
		_, err := wrap(throttle.Options{History: history}, &backend{err: tt.err}).Call(tt.ctx, 1)
		require.Equal(t, tt.err, err, name)
		requests, accepts := history.Counts()
		require.Equal(t, tt.requests, requests, name)
		require.Equal(t, tt.accepts, accepts, name)
	}
}

func TestRefusedDecidesInPlaceOfTheClass(t *testing.T) {
	down := turret.WithClass(errors.New("overloaded, says nothing"), turret.Transient)
	history := throttle.NewHistory(time.Minute)
	o := throttle.Options{History: history, Rand: func() float64 { return 1 }}
	o.Refused = func(err error, class turret.Class) bool {
		require.NotEqual(t, turret.Rejected, class)
		return class == turret.Transient
	}
	for _, err := range []error{down, errBusy, turret.WithClass(down, turret.Rejected)} {
		_, _ = wrap(o, &backend{err: err}).Call(t.Context(), 1)
	}
	requests, accepts := history.Counts()
	require.EqualValues(t, 2, requests)
	require.EqualValues(t, 1, accepts)
}

func TestCallsUnderWayAreNotTakenForRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := wrap(throttle.Options{Rand: worst, Probe: never}, turret.ServiceFunc[int, int](
			func(_ context.Context, n int) (int, error) { <-time.After(time.Second); return n, nil }))
		var refused atomic.Int32
		for n := range 100 {
			go func() {
				if _, err := svc.Call(t.Context(), n); err != nil {
					refused.Add(1)
				}
			}()
		}
		<-time.After(2 * time.Second)
		require.Zero(t, refused.Load())
	})
}

func TestAPanicComesUpAsItWasAndCountsNeitherWay(t *testing.T) {
	history, value := throttle.NewHistory(time.Minute), &struct{ why string }{"out of cheese"}
	svc := wrap(throttle.Options{History: history}, turret.ServiceFunc[int, int](
		func(context.Context, int) (int, error) { panic(value) }))
	defer func() {
		require.Same(t, value, recover())
		requests, _ := history.Counts()
		require.Zero(t, requests)
	}()
	_, _ = svc.Call(t.Context(), 1)
}

func TestRefusalIsRejectedAndSaysWhy(t *testing.T) {
	below := &backend{err: errBusy}
	svc := wrap(throttle.Options{Rand: worst, Probe: never}, below)
	_, _ = svc.Call(t.Context(), 1)
	resp, err := svc.Call(t.Context(), 1)
	require.Zero(t, resp)
	require.EqualError(t, err, "throttle: refused here, as the service refuses too many: it accepted 0 of 1 calls in 10s, so 50% of calls are not made")
	require.Equal(t, turret.Rejected, turret.Outcome(t.Context(), err))
	_, ok := turret.RetryAfter(err)
	require.False(t, ok)
}

func TestOneHistoryThrottlesServicesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := throttle.Options{History: throttle.NewHistory(time.Minute), Rand: worst}
		sign, decrypt := wrap(o, &backend{err: errBusy}), &backend{}
		call(t, sign, 100, time.Millisecond)
		require.Equal(t, 10, call(t, wrap(o, decrypt), 10, time.Millisecond))
		require.Zero(t, decrypt.calls.Load())
	})
}

func TestEachWrappedServiceHasAHistoryOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := throttle.Layer[int, int](throttle.Options{Rand: worst})
		require.Positive(t, call(t, layer(&backend{err: errBusy}), 10, 0))
		require.Zero(t, call(t, layer(&backend{}), 10, 0))
	})
}

func TestConcurrentUse(t *testing.T) {
	history := throttle.NewHistory(time.Hour)
	var n atomic.Int64
	svc := wrap(throttle.Options{History: history}, turret.ServiceFunc[int, int](
		func(context.Context, int) (int, error) {
			if n.Add(1)%10 != 0 {
				return 0, errBusy
			}
			return 1, nil
		}))
	var accepted atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 200 {
				if _, err := svc.Call(context.Background(), 1); err == nil {
					accepted.Add(1)
				}
			}
		})
	}
	all.Wait()
	requests, accepts := history.Counts()
	require.EqualValues(t, 64*200, requests, "none is lost")
	require.Equal(t, accepted.Load(), accepts)
	require.Less(t, n.Load(), int64(64*200), "some were refused here")
}

func TestSuccessAllocatesNothing(t *testing.T) {
	svc, ctx := wrap(throttle.Options{}, &backend{}), t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = svc.Call(ctx, 1) }))
}

func TestDescribe(t *testing.T) {
	for want, o := range map[string]throttle.Options{
		"throttle K 2, window 10s, probe every 1s":   {},
		"throttle K 1.5, window 5s, probe every 10s": {K: 1.5, Window: 5 * time.Second, Probe: 10 * time.Second},
		"throttle K 2, window 2m0s, probe every 1s":  {History: throttle.NewHistory(2 * time.Minute)},
	} {
		require.Equal(t, want+"\nfunc", turret.Describe(wrap(o, turret.ServiceFunc[int, int](echo))))
	}
}

func echo(_ context.Context, n int) (int, error) { return n, nil }

func TestAProbeCanBeAsRareAsThereIsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		<-time.After(time.Second)
		below, luck := &backend{err: errBusy}, 1.0
		svc := wrap(throttle.Options{Probe: math.MaxInt64, Rand: func() float64 { return luck }}, below)
		for range 10 {
			_, _ = svc.Call(t.Context(), 1)
			<-time.After(time.Second / 100)
		}
		require.EqualValues(t, 10, below.calls.Load())
		luck = 0
		for range 100 {
			_, err := svc.Call(t.Context(), 1)
			require.ErrorIs(t, err, throttle.ErrRefused)
		}
	})
}
