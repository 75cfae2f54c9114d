package breaker_test

import (
	"context"
	"errors"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

func TestEachClassCountsAsTheTableSays(t *testing.T) {
	failure := gobreaker.Counts{Requests: 1, TotalFailures: 1, ConsecutiveFailures: 1}
	success := gobreaker.Counts{Requests: 1, TotalSuccesses: 1, ConsecutiveSuccesses: 1}
	neither := gobreaker.Counts{Requests: 1, TotalExclusions: 1}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()

	for name, c := range map[string]struct {
		ctx  context.Context
		err  error
		want gobreaker.Counts
	}{
		"unknown":                  {t.Context(), errors.New("who knows"), failure},
		"transient":                {t.Context(), errDown, failure},
		"throttled":                {t.Context(), turret.WithClass(errDown, turret.Throttled), neither},
		"permanent":                {t.Context(), turret.WithClass(errDown, turret.Permanent), success},
		"rejected":                 {t.Context(), turret.WithClass(errDown, turret.Rejected), neither},
		"canceled by the caller":   {canceled, context.Canceled, neither},
		"canceled by the service":  {t.Context(), context.Canceled, failure},
		"no error":                 {t.Context(), nil, success},
		"no error, caller is gone": {canceled, nil, success},
	} {
		t.Run(name, func(t *testing.T) {
			b := breaker.New(settings)
			svc := breaker.Share[behaviour, string](b)(&backend{})
			_, err := svc.Call(c.ctx, fail(c.err))
			assert.Equal(t, c.err, err, "the error must come back as it was")
			assert.Equal(t, c.want, b.Counts())
		})
	}
}

func TestPermanentCanceledThrottledAndRejectedDoNotTrip(t *testing.T) {
	for _, class := range []turret.Class{turret.Permanent, turret.Throttled, turret.Rejected} {
		t.Run(class.String(), func(t *testing.T) {
			svc := breaker.Layer[behaviour, string](settings)(&backend{})
			for range 100 {
				_, _ = svc.Call(t.Context(), fail(turret.WithClass(errDown, class)))
			}
			assert.NoError(t, turret.Ready(svc))
		})
	}
	t.Run("canceled", func(t *testing.T) {
		svc := breaker.Layer[behaviour, string](settings)(&backend{})
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := svc.Call(ctx, func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() })
			require.ErrorIs(t, err, context.Canceled)
		}
		assert.NoError(t, turret.Ready(svc))
	})
}

// hangs is a service that answers no one, but returns when ctx ends.
func hangs(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestCallersOwnDeadlinesDoNotTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := breaker.Layer[behaviour, string](settings)(&backend{})
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := svc.Call(ctx, hangs)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		assert.NoError(t, turret.Ready(svc), "ten callers with short deadlines opened it for everybody")
	})
}

// attemptTimeout is the expiry of a timeout layer.
type attemptTimeout struct{}

func (attemptTimeout) Error() string        { return "attempt timed out" }
func (attemptTimeout) Class() turret.Class  { return turret.Transient }
func (attemptTimeout) Is(target error) bool { return target == context.DeadlineExceeded }

func TestAttemptTimeoutsBelowTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempt := turret.LayerFunc("timeout", func(ctx context.Context, req behaviour, next turret.Service[behaviour, string]) (string, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, time.Second, attemptTimeout{})
			defer cancel()
			resp, err := next.Call(ctx, req)
			if err != nil && context.Cause(ctx) == (attemptTimeout{}) {
				err = attemptTimeout{}
			}
			return resp, err
		})
		svc := turret.Stack(breaker.Layer[behaviour, string](settings), attempt)(&backend{})

		for range 3 {
			require.NoError(t, turret.Ready(svc))
			// The caller has a deadline too, a later one.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := svc.Call(ctx, hangs)
			cancel()
			require.ErrorIs(t, err, attemptTimeout{})
		}
		assert.ErrorIs(t, turret.Ready(svc), breaker.ErrOpen)
	})
}

func TestWhatWasAdmittedBeforeATripDoesNotCountAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(settings)
		svc := breaker.Share[behaviour, string](b)(&backend{})
		failsLate, failed := start(t.Context(), svc)
		worksLate, worked := start(t.Context(), svc)
		synctest.Wait()
		trip(t, svc)
		<-time.After(settings.Timeout + 1)
		probe, probed := start(t.Context(), svc)
		synctest.Wait()

		worksLate <- nil
		require.NoError(t, <-worked)
		assert.Equal(t, gobreaker.StateHalfOpen, b.State(), "a success from before the trip closed it")

		failsLate <- errDown
		require.ErrorIs(t, <-failed, errDown)
		assert.Equal(t, gobreaker.StateHalfOpen, b.State(), "a failure from before the trip opened it again")

		probe <- nil
		require.NoError(t, <-probed)
		assert.Equal(t, gobreaker.StateClosed, b.State())
		assert.Zero(t, b.Counts())
	})
}

func TestAPanicBelowCountsAndGoesOnUpAsItWas(t *testing.T) {
	b := breaker.New(settings)
	svc := breaker.Share[behaviour, string](b)(&backend{})
	value := &struct{ why string }{"out of cheese"}
	defer func() {
		assert.Same(t, value, recover())
		assert.Contains(t, string(debug.Stack()), "explode", "the trace must still show where it began")
		assert.Equal(t, gobreaker.Counts{Requests: 1, TotalFailures: 1, ConsecutiveFailures: 1}, b.Counts())
	}()
	_, _ = svc.Call(t.Context(), func(context.Context) error { explode(value); return nil })
}

//go:noinline
func explode(value any) { panic(value) }
