package breaker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

func TestOpenOpensForAsLongAsSaidAndThenAProbeDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(settings)
		svc := breaker.Share[behaviour, string](b)(&backend{})

		for _, d := range []time.Duration{time.Minute, 3 * time.Second} { // also when open
			b.Open(d, "others' failures")
			assert.Equal(t, gobreaker.StateOpen, b.State())
			_, err := svc.Call(t.Context(), works)
			wait, _ := turret.RetryAfter(err)
			assert.Equal(t, d, wait)
		}
		_, err := svc.Call(t.Context(), works)
		assert.EqualError(t, err, "breaker kms/eu-west-1: open for another 3s after others' failures")

		<-time.After(3*time.Second - 1)
		_, err = svc.Call(t.Context(), works)
		require.ErrorIs(t, err, breaker.ErrOpen)
		require.Error(t, turret.Ready(svc))
		<-time.After(1)
		require.NoError(t, turret.Ready(svc))
		assert.Equal(t, gobreaker.StateHalfOpen, b.State())

		_, _ = svc.Call(t.Context(), fail(errDown))
		_, err = svc.Call(t.Context(), works)
		wait, _ := turret.RetryAfter(err)
		assert.Equal(t, settings.Timeout+1, wait, "of its own accord it opens for Settings.Timeout")
		assert.ErrorContains(t, err, "a failed probe; the last: kms: internal error")

		<-time.After(wait)
		_, err = svc.Call(t.Context(), works)
		require.NoError(t, err)
		assert.Equal(t, gobreaker.StateClosed, b.State())
	})
}

func TestOpenForNothingIsHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{0, -time.Hour} {
			b := breaker.New(settings)
			svc := breaker.Share[behaviour, string](b)(&backend{})
			trip(t, svc)
			b.Open(d, "")
			assert.Equal(t, gobreaker.StateHalfOpen, b.State())
			end, result := start(t.Context(), svc)
			synctest.Wait()
			_, err := svc.Call(t.Context(), works)
			assert.ErrorContains(t, err, "waiting for probes to return; try again in 1s; opened after 3 consecutive failures; the last: kms: internal error")
			end <- nil
			require.NoError(t, <-result)
			assert.Equal(t, gobreaker.StateClosed, b.State())
		}
	})
}

func TestResetCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(settings)
		svc := breaker.Share[behaviour, string](b)(&backend{})
		trip(t, svc)
		b.Reset()
		assert.Equal(t, gobreaker.StateClosed, b.State())
		_, err := svc.Call(t.Context(), works)
		require.NoError(t, err)
		for range 2 {
			_, _ = svc.Call(t.Context(), fail(errDown))
		}
		b.Reset()
		assert.Zero(t, b.Counts())
		trip(t, svc)
	})
}

func TestWhatWasUnderWayAtOpenOrResetCountsNoMore(t *testing.T) {
	changes := map[string]func(*breaker.Breaker){
		"open":      func(b *breaker.Breaker) { b.Open(time.Minute, "") },
		"half-open": func(b *breaker.Breaker) { b.Open(0, "") },
		"closed":    func(b *breaker.Breaker) { b.Reset() },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := settings
				s.ReadyToTrip = func(c gobreaker.Counts) bool { return true }
				told := gobreaker.StateClosed
				s.OnStateChange = func(_ string, _, to gobreaker.State) { told = to }
				b := breaker.NewObserved(s, func(ok bool) { t.Error("counted") })
				svc := breaker.Share[behaviour, string](b)(&backend{})
				end, result := start(t.Context(), svc)
				synctest.Wait()
				change(b)
				state := b.State()
				end <- errDown
				require.ErrorIs(t, <-result, errDown)
				assert.Equal(t, state, b.State())
				assert.Equal(t, state, told)
				assert.Zero(t, b.Counts())
			})
		})
	}
}

func TestObservedIsWhatCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var results []bool
		b := breaker.NewObserved(settings, func(ok bool) { results = append(results, ok) })
		svc := breaker.Share[behaviour, string](b)(&backend{})
		_, _ = svc.Call(t.Context(), works)
		_, _ = svc.Call(t.Context(), fail(turret.WithClass(errDown, turret.Throttled)))
		_, _ = svc.Call(t.Context(), fail(turret.WithClass(errDown, turret.Permanent)))
		assert.Panics(t, func() { _, _ = svc.Call(t.Context(), func(context.Context) error { panic("driver") }) })
		_, _ = svc.Call(t.Context(), works)
		trip(t, svc)
		_, _ = svc.Call(t.Context(), works) // refused
		assert.Equal(t, []bool{true, true, false, true, false, false, false}, results)
	})
}

func TestOpenAndResetAreToldLikeAnyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []string
		var b *breaker.Breaker
		s := settings
		s.OnStateChange = func(_ string, from, to gobreaker.State) {
			changes = append(changes, fmt.Sprintf("%v to %v, is %v", from, to, b.State()))
		}
		b = breaker.New(s)
		b.Reset()
		b.Open(time.Minute, "")
		b.Open(time.Second, "")
		b.Open(0, "")
		b.Reset()
		b.Open(time.Second, "")
		<-time.After(time.Second)
		_, err := breaker.Share[behaviour, string](b)(&backend{}).Call(t.Context(), works)
		require.NoError(t, err)
		assert.Equal(t, []string{
			"closed to open, is open",
			"open to half-open, is half-open",
			"half-open to closed, is closed",
			"closed to open, is open",
			"open to half-open, is half-open",
			"half-open to closed, is closed",
		}, changes)
	})
}

func TestChangesFromOutsideUnderLoadAreToldInAChain(t *testing.T) {
	var mu sync.Mutex
	state := gobreaker.StateClosed
	s := settings
	s.Timeout = time.Nanosecond
	s.OnStateChange = func(_ string, from, to gobreaker.State) {
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, state, from)
		assert.NotEqual(t, from, to)
		state = to
	}
	b := breaker.New(s)
	svc := breaker.Share[behaviour, string](b)(&backend{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 500 {
				switch (i + j) % 5 {
				case 0:
					b.Reset()
				case 1:
					b.Open(time.Duration(j%3), "")
				default:
					_, _ = svc.Call(context.Background(), fail(errDown))
				}
			}
		})
	}
	wg.Wait()
	b.Reset()
	_, err := svc.Call(context.Background(), works)
	require.NoError(t, err)
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, gobreaker.StateClosed, state)
}
