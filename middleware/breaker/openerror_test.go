package breaker_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

func TestARefusalReadsAsASentence(t *testing.T) {
	last := errors.New("connection refused")
	for want, e := range map[string]breaker.OpenError{
		"breaker kms/eu-west-1: open for another 3.2s after 6 consecutive failures; the last: connection refused": {
			Name: "kms/eu-west-1", State: gobreaker.StateOpen, Wait: 3210 * time.Millisecond, Reason: "6 consecutive failures", Last: last},
		"breaker kms/eu-west-1: half-open, waiting for probes to return; try again in 200ms; opened after a failed probe; the last: connection refused": {
			Name: "kms/eu-west-1", State: gobreaker.StateHalfOpen, Wait: 200 * time.Millisecond, Reason: "a failed probe", Last: last},
		"breaker: open for another 20ms": {State: gobreaker.StateOpen, Wait: 20*time.Millisecond + 1},
	} {
		assert.EqualError(t, &e, want)
	}
}

func TestARefusalSaysWhatTrippedTheBreaker(t *testing.T) {
	for want, s := range map[string]gobreaker.Settings{
		"after a failure;":              {ReadyToTrip: func(c gobreaker.Counts) bool { return c.TotalFailures == 1 }},
		"after 2 consecutive failures;": {ReadyToTrip: func(c gobreaker.Counts) bool { return c.TotalFailures == 2 }},
		"after 3 failures in 4 calls;":  {ReadyToTrip: func(c gobreaker.Counts) bool { return c.TotalFailures == 3 }},
	} {
		svc := breaker.Layer[behaviour, string](s)(&backend{})
		for _, do := range []behaviour{fail(errDown), fail(errDown), works, fail(errDown)} {
			_, _ = svc.Call(t.Context(), do)
		}
		assert.ErrorContains(t, turret.Ready(svc), want)
		assert.ErrorContains(t, turret.Ready(svc), "the last: kms: internal error")
	}
}

func TestARefusalIsErrOpenAndNothingOfTheFailureBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := breaker.Layer[behaviour, string](settings)(&backend{})
		for range 3 {
			_, _ = svc.Call(t.Context(), fail(attemptTimeout{}))
		}
		_, err := svc.Call(t.Context(), works)

		assert.ErrorIs(t, err, breaker.ErrOpen)
		assert.ErrorIs(t, err, gobreaker.ErrOpenState)
		assert.NotErrorIs(t, err, gobreaker.ErrTooManyRequests)
		assert.NotErrorIs(t, err, context.DeadlineExceeded, "this call timed out nowhere")
		assert.Equal(t, turret.Rejected, turret.Classify(err))
		assert.Equal(t, turret.Rejected, turret.Outcome(t.Context(), err))

		var open *breaker.OpenError
		require.ErrorAs(t, err, &open)
		assert.Equal(t, breaker.OpenError{
			Name:   "kms/eu-west-1",
			State:  gobreaker.StateOpen,
			Wait:   10*time.Second + 1,
			Reason: "3 consecutive failures",
			Last:   attemptTimeout{},
		}, *open)
	})
}

func TestAGobreakerOpenBelowIsAFailureLikeAnother(t *testing.T) {
	svc := breaker.Layer[behaviour, string](settings)(&backend{})
	_, err := svc.Call(t.Context(), fail(gobreaker.ErrOpenState))
	assert.Equal(t, gobreaker.ErrOpenState, err)
	assert.NotErrorIs(t, err, breaker.ErrOpen)
}

func TestABreakerCanBeOpenForAsLongAsThereIsTime(t *testing.T) {
	s := settings
	s.Timeout = math.MaxInt64
	svc := breaker.Layer[behaviour, string](s)(&backend{})
	trip(t, svc)
	assert.Contains(t, turret.Describe(svc), "opens for 2562047h")

	_, err := svc.Call(t.Context(), works)
	require.ErrorIs(t, err, breaker.ErrOpen)
	after, _ := turret.RetryAfter(err)
	assert.Greater(t, after, 100*365*24*time.Hour)
}
