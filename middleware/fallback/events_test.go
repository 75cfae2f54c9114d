package fallback_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfFallbacks(t *testing.T) {
	down := errors.New("down")
	first, second := &backend{name: "first"}, &backend{name: "second"}
	svc := wrap(options{Service: second}, first)
	ctx, events := observed(t)
	_, err := svc.Call(ctx, 1)
	require.NoError(t, err)
	require.Empty(t, *events)
	first.err = down
	_, err = svc.Call(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, []turret.Event{{Layer: "fallback", Kind: turret.EventFallBack, Err: down}}, *events)

	*events = nil
	first.err = turret.WithClass(down, turret.Permanent)
	_, err = svc.Call(ctx, 1)
	require.Error(t, err)
	require.Empty(t, *events, "an answer is not fallen back for")
}
