package breaker_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

func TestOpenRefusesWithoutCallingWithTheTimeUntilHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		svc := breaker.Layer[behaviour, string](settings)(&kms)
		trip(t, svc)
		<-time.After(4 * time.Second)

		_, err := svc.Call(t.Context(), works)

		assert.EqualValues(t, 3, kms.calls.Load(), "an open breaker called the service")
		assert.ErrorIs(t, err, breaker.ErrOpen)
		wait, ok := turret.RetryAfter(err)
		assert.True(t, ok)
		assert.Equal(t, 6*time.Second+1, wait)
	})
}

func TestWaitingExactlyRetryAfterIsAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := breaker.Layer[behaviour, string](settings)(&backend{})
		trip(t, svc)
		_, err := svc.Call(t.Context(), works)
		wait, _ := turret.RetryAfter(err)

		<-time.After(wait - 1)
		_, err = svc.Call(t.Context(), works)
		require.ErrorIs(t, err, breaker.ErrOpen, "a nanosecond less is enough, so the hint is too long")
		require.Error(t, turret.Ready(svc))

		wait, _ = turret.RetryAfter(err)
		<-time.After(wait)
		require.NoError(t, turret.Ready(svc))
		_, err = svc.Call(t.Context(), works)
		require.NoError(t, err)
	})
}

func TestZeroSettingsAreGobreakersDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(gobreaker.Settings{})
		svc := breaker.Share[behaviour, string](b)(&backend{})
		for range 5 {
			_, _ = svc.Call(t.Context(), fail(errDown))
		}
		assert.Equal(t, gobreaker.StateClosed, b.State(), "after 5 failures")

		_, _ = svc.Call(t.Context(), fail(errDown))
		assert.Equal(t, gobreaker.StateOpen, b.State(), "after 6 failures")

		wait, _ := turret.RetryAfter(turret.Ready(svc))
		assert.Equal(t, time.Minute+1, wait)

		<-time.After(wait)
		assert.Equal(t, gobreaker.StateHalfOpen, b.State())
		_, err := svc.Call(t.Context(), works)
		assert.NoError(t, err)
		assert.Equal(t, gobreaker.StateClosed, b.State(), "after one probe")
	})
}

func TestReadyTellsOpenFromClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		svc := breaker.Layer[behaviour, string](settings)(&kms)
		assert.NoError(t, turret.Ready(svc), "closed")

		trip(t, svc)
		assert.ErrorIs(t, turret.Ready(svc), breaker.ErrOpen, "open")
		assert.Equal(t, turret.Rejected, turret.Classify(turret.Ready(svc)))

		<-time.After(settings.Timeout + 1)
		for range 10 {
			assert.NoError(t, turret.Ready(svc), "half-open, and asking reserves nothing")
		}

		end, result := start(t.Context(), svc)
		synctest.Wait()
		assert.ErrorIs(t, turret.Ready(svc), breaker.ErrOpen, "half-open, its probe under way")

		end <- nil
		assert.NoError(t, <-result)
		assert.NoError(t, turret.Ready(svc), "closed again")
	})
}

func TestEachServiceOfALayerHasABreakerOfItsOwn(t *testing.T) {
	layer := breaker.Layer[behaviour, string](settings)
	one, other := layer(&backend{}), layer(&backend{})
	trip(t, one)
	assert.NoError(t, turret.Ready(other))
}

func TestShareIsOneBreakerForStacksOfDifferentTypes(t *testing.T) {
	b := breaker.New(settings)
	sign := breaker.Share[behaviour, string](b)(&backend{})
	count := breaker.Share[string, int](b)(turret.ServiceFunc[string, int](
		func(_ context.Context, s string) (int, error) { return strconv.Atoi(s) }))

	n, err := count.Call(t.Context(), "42")
	require.NoError(t, err)
	require.Equal(t, 42, n)

	trip(t, sign)
	_, err = count.Call(t.Context(), "42")
	assert.ErrorIs(t, err, breaker.ErrOpen)
	assert.Equal(t, gobreaker.StateOpen, b.State())
	assert.Equal(t, "kms/eu-west-1", b.Name())
}

func TestCountsAreGobreakers(t *testing.T) {
	b := breaker.New(settings)
	svc := breaker.Share[behaviour, string](b)(&backend{})
	_, _ = svc.Call(t.Context(), works)
	_, _ = svc.Call(t.Context(), fail(errDown))
	assert.Equal(t, gobreaker.Counts{Requests: 2, TotalSuccesses: 1, TotalFailures: 1, ConsecutiveFailures: 1}, b.Counts())
}

func TestNoAllocationOnTheSuccessPath(t *testing.T) {
	svc := breaker.Layer[int, int](gobreaker.Settings{OnStateChange: func(string, gobreaker.State, gobreaker.State) {}})(echo)
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := svc.Call(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}), "Call")
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if err := svc.(turret.Readier).Ready(); err != nil {
			t.Fatal(err)
		}
	}), "Ready")
}

func TestDescribeSaysTheConfigurationAndNotTheState(t *testing.T) {
	var kms backend
	svc := breaker.Layer[behaviour, string](settings)(&kms)
	const want = "breaker kms/eu-west-1 (opens for 10s)\n*breaker_test.backend"
	assert.Equal(t, want, turret.Describe(svc))
	trip(t, svc)
	assert.Equal(t, want, turret.Describe(svc))

	assert.Equal(t, "breaker (opens for 1m0s)", breaker.New(gobreaker.Settings{}).String())
}
