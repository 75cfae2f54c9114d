package breaker_test

import (
	"context"
	"runtime"
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

// halfOpen runs test in a bubble, on a breaker that is about to be half-open.
func halfOpen(t *testing.T, s gobreaker.Settings, test func(*testing.T, *breaker.Breaker, turret.Service[behaviour, string])) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(s)
		svc := breaker.Share[behaviour, string](b)(&backend{})
		trip(t, svc)
		<-time.After(s.Timeout + 1)
		test(t, b, svc)
	})
}

func TestHalfOpenLetsMaxRequestsBeUnderWayAndNoMoreUnderAStampede(t *testing.T) {
	s := settings
	s.MaxRequests = 7
	halfOpen(t, s, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		var (
			mu       sync.Mutex
			underWay int
			refused  int
			release  = make(chan struct{})
		)
		for range 1000 {
			go func() {
				_, err := svc.Call(t.Context(), func(context.Context) error {
					mu.Lock()
					underWay++
					mu.Unlock()
					<-release
					return nil
				})
				if err != nil {
					assert.ErrorIs(t, err, breaker.ErrOpen)
					mu.Lock()
					refused++
					mu.Unlock()
				}
			}()
		}
		synctest.Wait()
		mu.Lock()
		assert.Equal(t, 7, underWay)
		assert.Equal(t, 993, refused)
		mu.Unlock()

		close(release)
		synctest.Wait()
		assert.Equal(t, gobreaker.StateClosed, b.State())
	})
}

func TestHalfOpenRefusalSaysWhenToTryAgain(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{
		2 * time.Second: 200 * time.Millisecond,
		time.Minute:     time.Second,
	} {
		s := settings
		s.Timeout = timeout
		halfOpen(t, s, func(t *testing.T, _ *breaker.Breaker, svc turret.Service[behaviour, string]) {
			end, result := start(t.Context(), svc)
			synctest.Wait()

			_, err := svc.Call(t.Context(), works)
			require.ErrorIs(t, err, breaker.ErrOpen)
			require.ErrorIs(t, err, gobreaker.ErrTooManyRequests)
			require.Equal(t, turret.Rejected, turret.Classify(err))
			wait, ok := turret.RetryAfter(err)
			require.True(t, ok)
			require.Equal(t, want, wait)

			end <- nil
			require.NoError(t, <-result)
		})
	}
}

func TestAFailedProbeOpensAgainForTheWholeTime(t *testing.T) {
	halfOpen(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		_, err := svc.Call(t.Context(), fail(errDown))
		require.ErrorIs(t, err, errDown)
		assert.Equal(t, gobreaker.StateOpen, b.State())
		wait, _ := turret.RetryAfter(turret.Ready(svc))
		assert.Equal(t, settings.Timeout+1, wait)
		assert.EqualError(t, turret.Ready(svc),
			"breaker kms/eu-west-1: open for another 10s after a failed probe; the last: kms: internal error")
	})
}

func TestANeutralProbeFreesItsPlace(t *testing.T) {
	fixed, rolling := settings, settings
	rolling.Interval, rolling.BucketPeriod = 3*time.Second, time.Second
	for _, s := range []gobreaker.Settings{fixed, rolling} {
		halfOpen(t, s, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
			ctx, cancel := context.WithCancel(t.Context())
			_, result := start(ctx, svc)
			<-time.After(time.Minute) // longer than any window
			require.ErrorIs(t, turret.Ready(svc), breaker.ErrOpen)

			cancel()
			require.ErrorIs(t, <-result, context.Canceled)
			require.Equal(t, gobreaker.StateHalfOpen, b.State(), "a cancel decided")
			require.NoError(t, turret.Ready(svc))

			_, err := svc.Call(t.Context(), works)
			require.NoError(t, err)
			require.Equal(t, gobreaker.StateClosed, b.State())
		})
	}
}

func TestAPanicInAProbeDoesNotStickHalfOpen(t *testing.T) {
	halfOpen(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		require.PanicsWithValue(t, "boom", func() {
			_, _ = svc.Call(t.Context(), func(context.Context) error { panic("boom") })
		})
		assert.Equal(t, gobreaker.StateOpen, b.State())
		<-time.After(settings.Timeout + 1)
		_, err := svc.Call(t.Context(), works)
		require.NoError(t, err)
		assert.Equal(t, gobreaker.StateClosed, b.State())
	})
}

func TestGoexitInAProbeDoesNotStickHalfOpen(t *testing.T) {
	halfOpen(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		var recovered any
		returned := false
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { recovered = recover() }()
			_, _ = svc.Call(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })
			returned = true
		}()
		<-done
		assert.False(t, returned, "Goexit must go on and end the goroutine")
		assert.Nil(t, recovered, "Goexit must not become a panic")

		assert.Equal(t, gobreaker.StateOpen, b.State())
		assert.ErrorContains(t, turret.Ready(svc), "runtime.Goexit")
		<-time.After(settings.Timeout + 1)
		_, err := svc.Call(t.Context(), works)
		require.NoError(t, err)
		assert.Equal(t, gobreaker.StateClosed, b.State())
	})
}

func TestGoexitPassesThroughBreakersOverBreakers(t *testing.T) {
	outer, inner := breaker.New(settings), breaker.New(settings)
	svc := turret.Stack(breaker.Share[behaviour, string](outer), breaker.Share[behaviour, string](inner))(&backend{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = svc.Call(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })
		t.Error("Goexit did not end the goroutine")
	}()
	<-done
	assert.EqualValues(t, 1, outer.Counts().TotalFailures)
	assert.EqualValues(t, 1, inner.Counts().TotalFailures)
}
