package ratelimit_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
)

var errThrottled = turret.WithClass(errors.New("slow down"), turret.Throttled)

func TestThrottledCallsInOneBurstAreOneDecrease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 1000, Decrease: 0.5})
		svc := wrap(ratelimit.Options{Limiter: a}, &backend{err: errThrottled})
		assert.EqualValues(t, 1000, a.Rate(), "it starts at its ceiling")
		for range 50 {
			_, _ = svc.Call(t.Context(), 1)
		}
		assert.EqualValues(t, 500, a.Rate())
		<-time.After(time.Second)
		_, _ = svc.Call(t.Context(), 1)
		assert.EqualValues(t, 250, a.Rate(), "and a later one is another")
	})
}

func TestRateStaysBetweenFloorAndCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 100, Floor: 20})
		for range 1000 {
			a.Observe(t.Context(), nil)
		}
		assert.EqualValues(t, 100, a.Rate())
		for range 20 {
			a.Observe(t.Context(), errThrottled)
			<-time.After(time.Second)
		}
		assert.EqualValues(t, 20, a.Rate())
		for range 100_000 {
			a.Observe(t.Context(), nil)
		}
		assert.EqualValues(t, 100, a.Rate())
	})
}

func TestOnlyThrottledLowersTheRate(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 100})
	for _, class := range []turret.Class{turret.Unknown, turret.Transient, turret.Permanent, turret.Canceled, turret.Rejected} {
		a.Observe(t.Context(), turret.WithClass(errors.New("else"), class))
	}
	a.Observe(gone, context.Canceled)
	assert.EqualValues(t, 100, a.Rate())
	a.Observe(t.Context(), errThrottled)
	assert.EqualValues(t, 70, a.Rate())
}

// slowed is a limiter that was throttled down from 100/s to 50/s, and rises by
// 10/s every second.
func slowed(t *testing.T) *ratelimit.Adaptive {
	a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 100, Increase: 10, Decrease: 0.5, Burst: 1})
	a.Observe(t.Context(), errThrottled)
	require.EqualValues(t, 50, a.Rate())
	return a
}

func TestSuccessAtTheFullRateAddsIncreaseEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := slowed(t)
		svc, start := wrap(ratelimit.Options{Limiter: a}, &backend{}), time.Now()
		for time.Since(start) < 3*time.Second {
			_, _ = svc.Call(t.Context(), 1)
		}
		assert.InDelta(t, 80, float64(a.Rate()), 1)
	})
}

func TestSuccessBelowTheFullRateAddsInProportion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := slowed(t)
		svc, start := wrap(ratelimit.Options{Limiter: a}, &backend{}), time.Now()
		for time.Since(start) < 3*time.Second {
			_, _ = svc.Call(t.Context(), 1)
			<-time.After(200 * time.Millisecond) // a tenth of the rate
		}
		assert.InDelta(t, 53, float64(a.Rate()), 1)
	})
}

func TestSuccessBelowOneASecondAddsNoMoreThanIncrease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 1, Increase: 0.1, Decrease: 0.1})
		a.Observe(t.Context(), errThrottled)
		a.Observe(t.Context(), nil)
		assert.InDelta(t, 0.2, float64(a.Rate()), 1e-9)
	})
}

func TestIdleTimeAddsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := slowed(t)
		<-time.After(time.Hour)
		a.Observe(t.Context(), nil)
		assert.EqualValues(t, 50, a.Rate())
	})
}

func TestBurstFollowsTheRateUnlessSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for burst, want := range map[int]int{0: 35, 3: 3} {
			a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 500, Burst: burst})
			a.Observe(t.Context(), errThrottled)
			assert.EqualValues(t, 350, a.Rate())
			assert.Equal(t, want, drain(a))
		}
	})
}

func TestThrottlingSlowsThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 1, Decrease: 0.1, Burst: 1})
		drain(a)
		patient, hasty := queue(a, 0), queue(a, 2*time.Second)
		a.Observe(t.Context(), errThrottled)
		<-hasty.done
		assert.ErrorIs(t, hasty.err, ratelimit.ErrLimited)
		assert.ErrorIs(t, a.Check(10*time.Second), ratelimit.ErrLimited)
		patient.admitted(t, 10*time.Second)
	})
}

// throttling is a service with a quota, which answers in 20ms and counts.
type throttling struct {
	quota *rate.Limiter

	mu            sync.Mutex
	ok, throttled int
}

func (s *throttling) Call(_ context.Context, n int) (int, error) {
	<-time.After(20 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.quota.Allow() {
		s.throttled++
		return 0, errThrottled
	}
	s.ok++
	return n, nil
}

// load calls svc from 50 goroutines for a time.
func load(svc turret.Service[int, int], d time.Duration) {
	start := time.Now()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for time.Since(start) < d {
				_, _ = svc.Call(context.Background(), 1)
			}
		})
	}
	all.Wait()
}

func TestAdaptiveFindsTheQuotaAndFollowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 1000})
		below := &throttling{quota: rate.NewLimiter(100, 10)}
		svc := wrap(ratelimit.Options{Limiter: a}, below)
		for _, quota := range []rate.Limit{100, 300, 50} {
			below.quota.SetLimit(quota)
			load(svc, 30*time.Second) // to find it
			below.ok, below.throttled = 0, 0
			load(svc, time.Minute)

			t.Logf("quota %v/s: %d calls answered, %d throttled, %.0f/s at the end", quota, below.ok, below.throttled, float64(a.Rate()))
			assert.Greater(t, float64(below.ok), 0.75*float64(quota)*60, "most of the quota is used")
			assert.Less(t, float64(below.throttled), 0.05*float64(below.ok), "few calls are throttled")
		}
	})
}

func TestTwoAdaptiveClientsShareAQuotaFairly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quota := rate.NewLimiter(200, 10)
		var clients [2]*throttling
		var all sync.WaitGroup
		for i := range clients {
			clients[i] = &throttling{quota: quota}
			// One begins far ahead of the other.
			a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 500})
			for range i * 8 {
				a.Observe(t.Context(), errThrottled)
				<-time.After(time.Second)
			}
			svc := wrap(ratelimit.Options{Limiter: a}, clients[i])
			all.Go(func() { load(svc, 3*time.Minute) })
		}
		all.Wait()
		t.Logf("answered: %d and %d", clients[0].ok, clients[1].ok)
		assert.InEpsilon(t, clients[0].ok, clients[1].ok, 0.25)
	})
}

func TestAdaptiveConcurrentUse(t *testing.T) {
	a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 1e6, Interval: time.Microsecond})
	svc := wrap(ratelimit.Options{Limiter: a, MaxWait: time.Millisecond}, &backend{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 500 {
				_, _ = svc.Call(context.Background(), i)
				if i%100 == 0 {
					a.Observe(context.Background(), errThrottled)
				}
			}
		})
	}
	all.Wait()
	assert.LessOrEqual(t, a.Rate(), rate.Limit(1e6))
}

func TestAdaptiveSuccessAllocatesNothing(t *testing.T) {
	a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: unreached})
	svc, ctx := wrap(ratelimit.Options{Limiter: a}, turret.ServiceFunc[int, int](echo)), t.Context()
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = svc.Call(ctx, 1) }))
}

func TestAdaptiveDescribe(t *testing.T) {
	a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 500})
	svc := wrap(ratelimit.Options{Limiter: a, MaxWait: 20 * time.Millisecond}, turret.ServiceFunc[int, int](echo))
	assert.Equal(t, "rate limit adaptive, 5/s to 500/s, waits 20ms at most\nfunc", turret.Describe(svc))
}

func TestAdaptiveOptionsValidate(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		o    ratelimit.AdaptiveOptions
		want string
	}{
		{ratelimit.AdaptiveOptions{Ceiling: 500}, ""},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Floor: 5, Increase: 1, Decrease: 0.5, Interval: time.Second, Burst: 2}, ""},
		{ratelimit.AdaptiveOptions{}, "Ceiling is 0"},
		{ratelimit.AdaptiveOptions{Ceiling: rate.Inf}, "Ceiling is infinite"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Burst: -1}, "Burst is -1"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Floor: -1}, "Floor is -1"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Floor: rate.Limit(nan)}, "Floor is NaN"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Floor: 6}, "Floor is 6, above Ceiling, which is 5"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Increase: -1}, "Increase is -1"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Decrease: 1}, "Decrease is 1; the rate is multiplied by it, so it lies between 0 and 1"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Decrease: -0.5}, "Decrease is -0.5"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Decrease: nan}, "Decrease is NaN"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Interval: -1}, "Interval is negative"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Tolerance: 0.99}, ""},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Tolerance: 1}, "Tolerance is 1; it is a share of the calls, as in 0.15, or 0 for none"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Tolerance: -0.1}, "Tolerance is -0.1"},
		{ratelimit.AdaptiveOptions{Ceiling: 5, Tolerance: nan}, "Tolerance is NaN"},
	} {
		err := tt.o.Validate()
		if tt.want == "" {
			assert.NoError(t, err)
			assert.NotPanics(t, func() { ratelimit.NewAdaptive(tt.o) })
			continue
		}
		assert.ErrorContains(t, err, "ratelimit: ")
		assert.ErrorContains(t, err, tt.want)
		assert.PanicsWithError(t, err.Error(), func() { ratelimit.NewAdaptive(tt.o) })
	}
}

// tolerant is a limiter that has to find a quota below 1,000/s.
func tolerant() *ratelimit.Adaptive {
	return ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 1000, Tolerance: 0.15})
}

// offer calls svc at a rate for a time, and waits for none meanwhile.
func offer(svc turret.Service[int, int], perSecond int, d time.Duration) {
	var all sync.WaitGroup
	for range int(d.Seconds() * float64(perSecond)) {
		all.Go(func() { _, _ = svc.Call(context.Background(), 1) })
		<-time.After(time.Second / time.Duration(perSecond))
	}
	all.Wait()
}

func TestThrottlingBelowTheToleranceIsTakenForChance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, dice := tolerant(), rand.New(rand.NewPCG(1, 2))
		for range 60_000 { // ten minutes at 100/s
			<-time.After(10 * time.Millisecond)
			if dice.Float64() < 0.08 {
				a.Observe(t.Context(), errThrottled)
			} else {
				a.Observe(t.Context(), nil)
			}
			require.EqualValues(t, 1000, a.Rate())
		}
	})
}

func TestTheToleranceIsAShareOfAllCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 1000, Tolerance: 0.5})
		observe := func(of ...error) {
			for range 100 {
				for _, err := range of {
					<-time.After(10 * time.Millisecond)
					a.Observe(t.Context(), err)
				}
			}
		}
		observe(errThrottled, nil)
		assert.EqualValues(t, 1000, a.Rate())
		observe(errThrottled, nil, errThrottled)
		assert.Less(t, float64(a.Rate()), 1000.0)
	})
}

// As a clock that is coarse has it, or one that is virtual.
func TestThrottledCallsOfOneInstantMakeNoRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 1000, Tolerance: 0.15, Interval: 1})
		for range 100 {
			a.Observe(t.Context(), errThrottled)
		}
		for range 100 {
			<-time.After(time.Millisecond)
			a.Observe(t.Context(), errThrottled)
		}
		assert.EqualValues(t, 100, a.Rate(), "nothing is granted")
	})
}

func TestAFewThrottledCallsAreTakenForChance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := tolerant()
		for range 11 {
			<-time.After(time.Second)
			a.Observe(t.Context(), errThrottled)
		}
		assert.EqualValues(t, 1000, a.Rate())
		a.Observe(t.Context(), errThrottled)
		assert.EqualValues(t, 100, a.Rate(), "not one of a dozen was granted")
	})
}

func TestABurstOfThrottledCallsIsNoMeasureYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := tolerant()
		for range 1000 {
			a.Observe(t.Context(), errThrottled)
		}
		assert.EqualValues(t, 1000, a.Rate())
		<-time.After(100 * time.Millisecond)
		a.Observe(t.Context(), errThrottled)
		assert.EqualValues(t, 100, a.Rate())
	})
}

func TestAToleranceLowersTheRateToWhatIsGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := tolerant()
		for range 1000 { // before the throttling: no measure of what is granted in it
			a.Observe(t.Context(), nil)
		}
		for a.Rate() == 1000 { // three of four, 400 a second
			for _, err := range []error{errThrottled, nil, nil, nil} {
				<-time.After(time.Second / 400)
				a.Observe(t.Context(), err)
			}
		}
		lowered := a.Rate()
		assert.InDelta(t, 300*0.95, float64(lowered), 5)
		<-time.After(time.Second)
		a.Observe(t.Context(), errThrottled)
		assert.Equal(t, lowered, a.Rate(), "it takes as many again")
	})
}

func TestAToleranceFindsTheQuotaInASecond(t *testing.T) {
	for _, quota := range []int{150, 300, 600} {
		synctest.Test(t, func(t *testing.T) {
			below := &throttling{quota: rate.NewLimiter(rate.Limit(quota), quota)}
			a := tolerant()
			svc := wrap(ratelimit.Options{Limiter: a, MaxWait: time.Second}, below)
			offer(svc, quota*4/3, 10*time.Second)
			t.Logf("quota %d/s: %d calls answered, %d throttled, %.0f/s at the end", quota, below.ok, below.throttled, float64(a.Rate()))
			assert.Less(t, float64(below.throttled), 0.03*float64(below.ok), "without one it is a third")
			assert.Greater(t, float64(below.ok), 0.97*float64(10*quota))
		})
	}
}

func TestUnderLastingOverloadAToleranceUsesTheQuotaAndThrottlesLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &throttling{quota: rate.NewLimiter(300, 300)}
		svc := wrap(ratelimit.Options{Limiter: tolerant(), MaxWait: time.Second}, below)
		offer(svc, 400, 5*time.Minute)
		t.Logf("%d calls answered, %d throttled", below.ok, below.throttled)
		assert.Less(t, float64(below.throttled), 0.1*float64(below.ok))
		assert.Greater(t, float64(below.ok), 0.97*300*300)
	})
}

func TestTwoThatLearnApartShareAQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quota := rate.NewLimiter(300, 300)
		one, two := &throttling{quota: quota}, &throttling{quota: quota}
		done := make(chan struct{})
		go func() {
			defer close(done)
			offer(wrap(ratelimit.Options{Limiter: tolerant(), MaxWait: time.Second}, one), 400, 2*time.Minute)
		}()
		<-time.After(10 * time.Second) // the first one has it all by then
		offer(wrap(ratelimit.Options{Limiter: tolerant(), MaxWait: time.Second}, two), 400, 110*time.Second)
		<-done
		t.Logf("%d and %d calls answered, %d and %d throttled", one.ok, two.ok, one.throttled, two.throttled)
		assert.Greater(t, one.ok+two.ok, 300*115)
		assert.Greater(t, float64(min(one.ok, two.ok)), 0.25*float64(one.ok+two.ok))
		assert.Less(t, float64(one.throttled+two.throttled), 0.2*float64(one.ok+two.ok))
	})
}

// After a while in which every call was throttled, for a reason that is gone.
func TestAToleranceLetsTheRateRiseFastOnceNothingIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &backend{err: errThrottled}
		a := tolerant()
		svc := wrap(ratelimit.Options{Limiter: a, MaxWait: ratelimit.NoWait}, below)
		offer(svc, 1000, time.Second)
		require.EqualValues(t, 100, a.Rate())
		below.err = nil
		offer(svc, 1000, 10*time.Second)
		assert.InDelta(t, 120, float64(a.Rate()), 5, "ten seconds of Increase")
		offer(svc, 1000, 50*time.Second)
		assert.InDelta(t, 950, float64(a.Rate()), 60)
	})
}
