package filter_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/filter"
)

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfRefusals(t *testing.T) {
	ctx, events := observed(t)
	_, err := wrap(pass, &echo{}).Call(ctx, "hello")
	require.NoError(t, err)
	require.Empty(t, *events)
	_, err = wrap(refuse(errors.New("too long")), &echo{}).Call(ctx, "hello")
	require.ErrorIs(t, err, filter.ErrRefused)
	require.Equal(t, []turret.Event{{Layer: "filter", Kind: turret.EventRefuse, Err: err}}, *events)

	*events = nil
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = wrap(refuse(context.Canceled), &echo{}).Call(gone, "hello")
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, *events, "a caller who has gone is no refusal")
}
