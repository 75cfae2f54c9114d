package reconnect_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/reconnect"
)

func TestBackoffGrowsWithEachFailureInARowUpToMax(t *testing.T) {
	o := reconnect.Options{MinBackoff: time.Second, MaxBackoff: 10 * time.Second}
	bubble(t, o, func(t *testing.T, token *token, svc service) {
		token.connect = fails(errRefused)
		for i := range 1000 {
			_, err := svc.Call(t.Context(), well)
			require.ErrorIs(t, err, errRefused, "an attempt as soon as the wait is over")
			require.Equal(t, i+1, token.attempts)

			_, err = svc.Call(t.Context(), well)
			require.ErrorIs(t, err, reconnect.ErrBackoff)
			require.Equal(t, turret.Rejected, turret.Outcome(t.Context(), err))
			wait, ok := turret.RetryAfter(err)
			require.True(t, ok)
			ceiling := 10 * time.Second
			if i < 4 {
				ceiling = time.Second << i
			}
			require.LessOrEqual(t, wait, ceiling)
			require.GreaterOrEqual(t, wait, ceiling/2)

			<-time.After(wait - 1)
			_, err = svc.Call(t.Context(), well)
			require.ErrorIs(t, err, reconnect.ErrBackoff)
			<-time.After(1)
		}
	})
}

func TestCallsDuringABackoffAreRefusedAtOnce(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		token.connect = fails(errRefused)
		_, _ = svc.Call(t.Context(), well)
		refused := begin(t.Context(), svc, well).wait()
		assert.ErrorIs(t, refused.err, reconnect.ErrBackoff)
		assert.Zero(t, refused.took)
		assert.Equal(t, 1, token.attempts)
	})
}

func TestBackoffIsJittered(t *testing.T) {
	waits := map[time.Duration]bool{}
	for range 100 {
		svc := reconnect.New(reconnect.Options{}, (&token{connect: fails(errRefused)}).open)
		_, _ = svc.Call(t.Context(), well)
		_, err := svc.Call(t.Context(), well)
		wait, _ := turret.RetryAfter(err)
		waits[wait.Round(time.Millisecond)] = true
	}
	assert.Greater(t, len(waits), 20)
}

func TestSuccessEndsTheRowOfFailures(t *testing.T) {
	o := reconnect.Options{MinBackoff: time.Second, MaxBackoff: time.Hour}
	bubble(t, o, func(t *testing.T, token *token, svc service) {
		token.connect = fails(errRefused)
		for range 8 {
			_, _ = svc.Call(t.Context(), well)
			<-time.After(time.Hour)
		}
		token.connect = nil
		_, _ = svc.Call(t.Context(), takes(time.Minute, errNoKey)) // an answer, all the same
		_, _ = svc.Call(t.Context(), fails(errKilled))
		token.connect = fails(errRefused)
		_, err := svc.Call(t.Context(), well)
		require.ErrorIs(t, err, errRefused, "at once")
		wait, _ := turret.RetryAfter(turret.Ready(svc))
		assert.LessOrEqual(t, wait, time.Second)
	})
}

func TestConnectionThatNeverWorkedIsAFailureToo(t *testing.T) {
	o := reconnect.Options{MinBackoff: time.Second, MaxBackoff: time.Hour}
	bubble(t, o, func(t *testing.T, token *token, svc service) {
		for i := range 8 {
			_, err := svc.Call(t.Context(), fails(errKilled))
			require.Equal(t, errKilled, err)
			wait, _ := turret.RetryAfter(turret.Ready(svc))
			require.GreaterOrEqual(t, wait, time.Second<<i/2)
			<-time.After(wait)
		}
	})
}

func TestConnectionThatBreaksSoonIsNotReplacedBeforeMinBackoff(t *testing.T) {
	o := reconnect.Options{MinBackoff: time.Second}
	bubble(t, o, func(t *testing.T, token *token, svc service) {
		_, _ = svc.Call(t.Context(), well)
		_, _ = svc.Call(t.Context(), takes(time.Second/4, errKilled))
		_, err := svc.Call(t.Context(), well)
		assert.EqualError(t, err, "reconnect: no connection for another 750ms: CKR_SESSION_HANDLE_INVALID")
		<-time.After(3 * time.Second / 4)
		_, err = svc.Call(t.Context(), well)
		assert.NoError(t, err)
	})
}

func TestBackoffErrorSaysWhatHappened(t *testing.T) {
	err := &reconnect.BackoffError{Wait: 3210 * time.Millisecond, Failures: 5, Last: errRefused}
	assert.EqualError(t, err, "reconnect: no connection for another 3.2s after 5 failures; the last: connection refused")
}

func TestDefaultsFitTheBoundThatIsSet(t *testing.T) {
	for _, tc := range []struct {
		o    reconnect.Options
		want string
	}{
		{reconnect.Options{MinBackoff: time.Minute}, "reconnect, backoff 1m0s–1m0s"},
		{reconnect.Options{MinBackoff: time.Second}, "reconnect, backoff 1s–30s"},
		{reconnect.Options{MaxBackoff: time.Millisecond}, "reconnect, backoff 1ms–1ms"},
		{reconnect.Options{MaxBackoff: time.Second}, "reconnect, backoff 100ms–1s"},
	} {
		assert.Equal(t, tc.want, turret.Describe(reconnect.New(tc.o, func(context.Context) (service, error) { return nil, nil })))
	}
}

func TestRefusalIsNoCallThatWentWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		s := reconnect.New(reconnect.Options{MaxBackoff: time.Second}, func(context.Context) (turret.Service[does, int], error) {
			made++
			return &session{token: &token{}}, nil
		})
		defer func() { require.NoError(t, turret.Close(s)) }()
		refused := turret.WithClass(errors.New("refused"), turret.Rejected)
		for range 1000 { // for ten seconds
			_, _ = s.Call(t.Context(), fails(refused))
			_, _ = s.Call(t.Context(), fails(errors.New("reset")))
			<-time.After(10 * time.Millisecond)
		}
		require.Less(t, made, 30, "it backs off, as nothing ever worked")
	})
}

func TestHalfAConnectionIsClosed(t *testing.T) {
	half := &session{token: &token{}}
	s := reconnect.New(reconnect.Options{}, func(context.Context) (turret.Service[does, int], error) {
		return half, errors.New("half-way")
	})
	_, err := s.Call(t.Context(), well)
	require.ErrorContains(t, err, "half-way")
	require.NoError(t, turret.Close(s))
	require.EqualValues(t, 1, half.closes.Load())
}
