package loadshed_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/loadshed"
)

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestThatACallerHasGoneIsNoRefusal(t *testing.T) {
	svc := wrap(loadshed.Options{Check: context.Context.Err}, &backend{})
	ctx, events := observed(t)
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_, err := svc.Call(ctx, 1)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
	require.Empty(t, *events)
}

func TestObserversHearOfRefusals(t *testing.T) {
	below := &backend{}
	svc := wrap(loadshed.Options{}, below)
	ctx, events := observed(t)
	_, err := svc.Call(ctx, 1)
	require.NoError(t, err)
	require.Empty(t, *events)
	below.closed = &closedError{}
	_, err = svc.Call(ctx, 1)
	require.ErrorIs(t, err, loadshed.ErrOverloaded)
	require.Equal(t, []turret.Event{{Layer: "loadshed", Kind: turret.EventRefuse, Err: err}}, *events)
}
