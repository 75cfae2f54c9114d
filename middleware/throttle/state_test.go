package throttle_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/throttle"
)

func state(t *testing.T, svc any) string {
	t.Helper()
	s, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	return s.String()
}

func TestStateTellsWhatIsRememberedAndWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &backend{}
		history := throttle.NewHistory(10 * time.Second)
		svc := wrap(throttle.Options{History: history, Rand: func() float64 { return 0.99 }}, below)
		require.Equal(t, "throttle=[requests=0 accepts=0 refusal_probability=0]", state(t, svc))
		for range 3 {
			_, _ = svc.Call(t.Context(), 1)
		}
		require.Equal(t, "throttle=[requests=3 accepts=3 refusal_probability=0]", state(t, svc))
		below.err = errBusy
		for range 12 {
			_, _ = svc.Call(t.Context(), 1)
		}
		require.Equal(t, "throttle=[requests=15 accepts=3 refusal_probability=0.5625]", state(t, svc))
		require.Equal(t, state(t, svc), state(t, wrap(throttle.Options{History: history}, below)), "for all who share it")
		<-time.After(time.Minute)
		require.Equal(t, "throttle=[requests=0 accepts=0 refusal_probability=0]", state(t, svc))
	})
}

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := wrap(throttle.Options{Rand: worst, Probe: never}, &backend{err: errBusy})
		ctx, events := observed(t)
		_, err := svc.Call(ctx, 1)
		require.ErrorIs(t, err, errBusy)
		require.Empty(t, *events, "that was the service's")
		_, err = svc.Call(ctx, 1)
		require.ErrorIs(t, err, throttle.ErrRefused)
		require.Equal(t, []turret.Event{{Layer: "throttle", Kind: turret.EventRefuse, Err: err}}, *events)
	})
}
