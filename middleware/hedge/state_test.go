package hedge_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/hedge"
)

func state(t *testing.T, svc any) string {
	t.Helper()
	s, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	return s.String()
}

func TestStateTellsTheDelayAndTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := hedge.NewBudget(0.25)
		fixed := wrap(&script{steps: []step{{takes: ms}}}, hedge.Options{Delay: 10 * ms, Budget: budget})
		require.Equal(t, "hedge=[delay=10ms budget_left=0]", state(t, fixed))
		_, err := fixed.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "hedge=[delay=10ms budget_left=0.25]", state(t, fixed))

		measured := wrap(turret.ServiceFunc[int, string](func(context.Context, int) (string, error) {
			<-time.After(3 * ms)
			return "", nil
		}), hedge.Options{Budget: budget})
		require.Equal(t, "hedge=[delay=0s budget_left=0.25]", state(t, measured), "the percentile is not known, the budget is shared")
		for range 100 {
			_, err := measured.Call(t.Context(), 1)
			require.NoError(t, err)
		}
		require.Equal(t, "hedge=[delay=3.000001ms budget_left=10]", state(t, measured))
		require.Equal(t, 10.0, budget.Left())
	})
}

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfHedgesAndOfThoseThatWin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := wrap(&script{steps: []step{{takes: time.Hour}, {takes: 5 * ms}, {takes: ms}}}, hedge.Options{Delay: 10 * ms, Budget: every()})
		ctx, events := observed(t)
		_, err := svc.Call(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, []turret.Event{
			{Layer: "hedge", Kind: turret.EventHedge, Count: 1, Delay: 10 * ms},
			{Layer: "hedge", Kind: turret.EventWin, Count: 1, Delay: 15 * ms},
		}, *events)

		*events = nil
		_, err = svc.Call(ctx, 1)
		require.NoError(t, err)
		require.Empty(t, *events, "an answer in time is no event")
	})
}
