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

func TestStateChangesReachOnStateChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []string
		s := settings
		s.OnStateChange = func(name string, from, to gobreaker.State) {
			changes = append(changes, fmt.Sprintf("%s: %v to %v", name, from, to))
		}
		svc := breaker.Layer[behaviour, string](s)(&backend{})

		trip(t, svc)
		assert.Equal(t, []string{"kms/eu-west-1: closed to open"}, changes)

		<-time.After(s.Timeout + 1)
		_, _ = svc.Call(t.Context(), func(context.Context) error {
			assert.Contains(t, changes, "kms/eu-west-1: open to half-open", "told before the probe")
			return errDown
		})
		<-time.After(s.Timeout + 1)
		_, _ = svc.Call(t.Context(), works)
		assert.Equal(t, []string{
			"kms/eu-west-1: closed to open",
			"kms/eu-west-1: open to half-open",
			"kms/eu-west-1: half-open to open",
			"kms/eu-west-1: open to half-open",
			"kms/eu-west-1: half-open to closed",
		}, changes)
	})
}

func TestAnythingMayBeAskedInOnStateChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			b     *breaker.Breaker
			svc   turret.Service[behaviour, string]
			found []string
		)
		s := settings
		s.OnStateChange = func(_ string, _, to gobreaker.State) {
			_, err := svc.Call(t.Context(), works)
			found = append(found, fmt.Sprintf("%v: state %v, ready %t, called %t, counted %d",
				to, b.State(), turret.Ready(svc) == nil, err == nil, b.Counts().Requests))
		}
		b = breaker.New(s)
		svc = breaker.Share[behaviour, string](b)(&backend{})

		trip(t, svc)
		<-time.After(s.Timeout + 1)
		_, err := svc.Call(t.Context(), works)
		require.NoError(t, err)

		assert.Equal(t, []string{
			"open: state open, ready false, called false, counted 0",
			"half-open: state half-open, ready false, called false, counted 1", // the call that found it so has the place
			"closed: state closed, ready true, called true, counted 1",
		}, found)
	})
}

func TestStateMayBeAskedInReadyToTrip(t *testing.T) {
	var b *breaker.Breaker
	var svc turret.Service[behaviour, string]
	s := settings
	s.ReadyToTrip = func(gobreaker.Counts) bool {
		return b.State() == gobreaker.StateClosed && turret.Ready(svc) == nil
	}
	b = breaker.New(s)
	svc = breaker.Share[behaviour, string](b)(&backend{})
	_, _ = svc.Call(t.Context(), fail(errDown))
	assert.Equal(t, gobreaker.StateOpen, b.State())
}

func TestChangesAreDeliveredOneAtATimeAndHoldUpNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, goOn := make(chan gobreaker.State), make(chan struct{})
		s := settings
		s.OnStateChange = func(_ string, _, to gobreaker.State) {
			told <- to
			<-goOn
		}
		svc := breaker.Layer[behaviour, string](s)(&backend{})
		go func() {
			for range 3 {
				_, _ = svc.Call(t.Context(), fail(errDown))
			}
		}()
		require.Equal(t, gobreaker.StateOpen, <-told)

		// The first is still being told when another call makes two more.
		<-time.After(s.Timeout + 1)
		_, err := svc.Call(t.Context(), works)
		require.NoError(t, err)

		goOn <- struct{}{}
		require.Equal(t, gobreaker.StateHalfOpen, <-told)
		goOn <- struct{}{}
		require.Equal(t, gobreaker.StateClosed, <-told)
		goOn <- struct{}{}
	})
}

func TestAPanicInOnStateChangeLosesNoOtherChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			svc     turret.Service[behaviour, string]
			changes []gobreaker.State
		)
		s := settings
		s.OnStateChange = func(_ string, _, to gobreaker.State) {
			changes = append(changes, to)
			switch to {
			case gobreaker.StateOpen:
				<-time.After(s.Timeout + 1)
				_, _ = svc.Call(t.Context(), works) // two more changes queue up
			case gobreaker.StateHalfOpen:
				panic("hook")
			}
		}
		svc = breaker.Layer[behaviour, string](s)(&backend{})
		assert.PanicsWithValue(t, "hook", func() { trip(t, svc) })
		assert.Equal(t, []gobreaker.State{gobreaker.StateOpen, gobreaker.StateHalfOpen}, changes)

		_, err := svc.Call(t.Context(), works)
		assert.NoError(t, err)
		assert.Equal(t, []gobreaker.State{gobreaker.StateOpen, gobreaker.StateHalfOpen, gobreaker.StateClosed}, changes)
	})
}

func TestAPanicInOnStateChangeKeepsNoProbesPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settings
		s.OnStateChange = func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateHalfOpen {
				panic("hook")
			}
		}
		b := breaker.New(s)
		svc := breaker.Share[behaviour, string](b)(&backend{})
		trip(t, svc)
		<-time.After(s.Timeout + 1)
		assert.PanicsWithValue(t, "hook", func() { _, _ = svc.Call(t.Context(), works) })
		assert.Equal(t, gobreaker.StateOpen, b.State(), "as after any failed probe")
	})
}
