package retry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/retry"
)

func state(t *testing.T, svc any) string {
	t.Helper()
	s, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	return s.String()
}

func TestStateTellsWhatTheBudgetHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := retry.Options{Budget: retry.NewBudget(0.5, 0.2)}
		first, second := retry.Layer[int, int](o)(always(errOne)), retry.Layer[int, int](o)(always(nil))
		require.Equal(t, "retry=[budget_left=2]", state(t, first))
		_, _ = first.Call(t.Context(), 1)
		require.Equal(t, "retry=[budget_left=0.5]", state(t, first), "half a retry for the call, less two")
		require.Equal(t, "retry=[budget_left=0.5]", state(t, second), "the same for all who share it")
	})
}

func TestWithoutABudgetTheStateIsEmpty(t *testing.T) {
	require.Equal(t, "retry=[]", state(t, retry.Layer[int, int](retry.Options{})(always(nil))))
	require.Equal(t, "retry=[]", state(t, retry.PolicyLayer(retry.PolicyFunc[int, int](
		func(context.Context, *retry.Try[int, int]) (time.Duration, bool) { return 0, false }))(always(nil))))
}

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfEachRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hooked []retry.Event
		svc := retry.Layer[int, int](retry.Options{OnRetry: func(_ context.Context, e retry.Event) { hooked = append(hooked, e) }})(answers(errOne, errTwo))
		ctx, events := observed(t)
		_, err := svc.Call(ctx, 1)
		require.NoError(t, err)
		require.Len(t, hooked, 2)
		require.Equal(t, []turret.Event{
			{Layer: "retry", Kind: turret.EventRetry, Count: 1, Err: errOne, Delay: hooked[0].Delay},
			{Layer: "retry", Kind: turret.EventRetry, Count: 2, Err: errTwo, Delay: hooked[1].Delay},
		}, *events)

		*events = nil
		_, _ = svc.Call(ctx, 1)
		require.Empty(t, *events, "a call that goes well is no event")
		_, _ = retry.Layer[int, int](retry.Options{})(always(permanent)).Call(ctx, 1)
		require.Empty(t, *events, "nor is one that is not made again")
	})
}

func TestAPolicysRetriesAreReportedToo(t *testing.T) {
	svc := retry.PolicyLayer(retry.PolicyFunc[int, int](func(_ context.Context, try *retry.Try[int, int]) (time.Duration, bool) {
		return 0, try.Attempt < 2
	}))(always(nil))
	ctx, events := observed(t)
	_, err := svc.Call(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, []turret.Event{{Layer: "retry", Kind: turret.EventRetry, Count: 1}}, *events, "of a success")
}
