package recovery_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/recovery"
)

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfPanics(t *testing.T) {
	ctx, events := observed(t)
	_, err := wrap(recovery.Options{}, echo).Call(ctx, 1)
	require.NoError(t, err)
	require.Empty(t, *events)
	_, err = wrap(recovery.Options{}, panics("bug")).Call(ctx, 1)
	require.ErrorIs(t, err, recovery.ErrPanic)
	require.Equal(t, []turret.Event{{Layer: "recovery", Kind: turret.EventPanic, Err: err}}, *events)
}
