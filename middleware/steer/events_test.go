package steer_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/steer"
)

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfRequestsWithoutATarget(t *testing.T) {
	svc := steer.New(func(_ context.Context, req string) string { return req }, targets{"a": &target{name: "a"}})
	ctx, events := observed(t)
	_, err := svc.Call(ctx, "a")
	require.NoError(t, err)
	require.Empty(t, *events)
	_, err = svc.Call(ctx, "b")
	require.ErrorIs(t, err, steer.ErrNoTarget)
	require.Equal(t, []turret.Event{{Layer: "steer", Kind: turret.EventRefuse, Err: err}}, *events)
}

func TestInspectNamesTheTargets(t *testing.T) {
	a, b := &target{name: "a"}, &target{name: "b"}
	below := turret.Inspect(steer.New(func(_ context.Context, req string) string { return req }, targets{"write": b, "read": a})).Below
	require.Len(t, below, 2)
	require.Equal(t, "read", below[0].Replica)
	require.Same(t, a, below[0].Service)
	require.Equal(t, "write", below[1].Replica)
	require.Same(t, b, below[1].Service)
}
