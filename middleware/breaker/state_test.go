package breaker_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

func TestStateTellsWhatACallWouldFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := breaker.Layer[behaviour, string](settings)(&backend{})
		state := func() string {
			s, ok := turret.Inspect(svc).State()
			require.True(t, ok)
			return s.String()
		}
		_, _ = svc.Call(t.Context(), fail(errDown))
		_, _ = svc.Call(t.Context(), works)
		_, _ = svc.Call(t.Context(), fail(errDown))
		assert.Equal(t, "breaker=[name=kms/eu-west-1 state=closed half_open_in=0s requests=3 failures=2 consecutive_failures=1]", state())

		_, _ = svc.Call(t.Context(), works)
		trip(t, svc)
		<-time.After(settings.Timeout / 4)
		assert.Equal(t, "breaker=[name=kms/eu-west-1 state=open half_open_in=7.500000001s requests=0 failures=0 consecutive_failures=0]", state())

		<-time.After(settings.Timeout)
		assert.Equal(t, "breaker=[name=kms/eu-west-1 state=half-open half_open_in=0s requests=0 failures=0 consecutive_failures=0]", state())
		_, _ = svc.Call(t.Context(), func(context.Context) error {
			assert.Equal(t, "breaker=[name=kms/eu-west-1 state=half-open half_open_in=0s requests=1 failures=0 consecutive_failures=0]", state())
			return nil
		})
	})
}

func TestStateOfABreakerWithoutANameHasNone(t *testing.T) {
	svc := breaker.Layer[behaviour, string](gobreaker.Settings{})(&backend{})
	s, _ := turret.Inspect(svc).State()
	assert.Equal(t, "breaker=[state=closed half_open_in=0s requests=0 failures=0 consecutive_failures=0]", s.String())
}

func TestObserversHearOfChangesAndRefusals(t *testing.T) {
	for _, hook := range []bool{false, true} {
		t.Run(fmt.Sprintf("with OnStateChange: %t", hook), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				s := settings
				if hook {
					s.OnStateChange = func(_ string, from, to gobreaker.State) { told = append(told, "hook") }
				}
				svc := breaker.Layer[behaviour, string](s)(&backend{})
				ctx := turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) {
					assert.Equal(t, "breaker", e.Layer)
					assert.Equal(t, "kms/eu-west-1", e.Name)
					told = append(told, fmt.Sprintf("%s %s>%s", e.Kind, e.From, e.To))
				})
				expect := func(want ...string) {
					t.Helper()
					if hook {
						want = append([]string{"hook"}, want...)
					}
					assert.Equal(t, want, told)
					told = nil
				}

				for range 3 {
					_, _ = svc.Call(ctx, fail(errDown))
				}
				expect("change closed>open")
				_, err := svc.Call(ctx, works)
				require.ErrorIs(t, err, breaker.ErrOpen)
				assert.Equal(t, []string{"refuse >"}, told)
				told = nil

				<-time.After(settings.Timeout + 1)
				_, _ = svc.Call(ctx, func(context.Context) error {
					expect("change open>half-open")
					return nil
				})
				expect("change half-open>closed")
				_, _ = svc.Call(ctx, works)
				assert.Empty(t, told, "a call that goes well is no event")
			})
		})
	}
}

func TestARefusalIsReportedWithItsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := breaker.Layer[behaviour, string](settings)(&backend{})
		trip(t, svc)
		var told error
		ctx := turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { told = e.Err })
		_, err := svc.Call(ctx, works)
		assert.Same(t, err, told)
	})
}
