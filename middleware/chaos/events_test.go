package chaos_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/chaos"
)

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfEachFault(t *testing.T) {
	for _, tc := range []struct {
		options chaos.Options
		want    turret.Event
	}{
		{chaos.Options{ErrorRate: 1}, turret.Event{Name: "error", Err: chaos.ErrInjected}},
		{chaos.Options{HangRate: 1}, turret.Event{Name: "hang"}},
		{chaos.Options{PanicRate: 1}, turret.Event{Name: "panic", Err: chaos.ErrPanic}},
	} {
		t.Run(tc.want.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tc.want.Layer, tc.want.Kind = "chaos", turret.EventFault
				ctx, events := observed(t)
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				fate(ctx, wrap(tc.options))
				require.Equal(t, []turret.Event{tc.want}, *events)
			})
		})
	}
	ctx, events := observed(t)
	fate(ctx, wrap(chaos.Options{}))
	require.Empty(t, *events)
}
