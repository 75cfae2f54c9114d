package turret_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

func TestReportTellsEveryObserverInnermostFirst(t *testing.T) {
	var told []string
	observe := func(name string) func(context.Context, turret.Event) {
		return func(_ context.Context, e turret.Event) {
			told = append(told, name+": "+e.Layer+" "+string(e.Kind)+" after "+e.Delay.String())
		}
	}
	outer := turret.WithObserver(t.Context(), observe("outer"))
	inner := turret.WithObserver(outer, observe("inner"))

	turret.Report(inner, turret.Event{Layer: "retry", Kind: turret.EventRetry, Delay: time.Second})
	require.Equal(t, []string{"inner: retry retry after 1s", "outer: retry retry after 1s"}, told)

	told = nil
	turret.Report(outer, turret.Event{Layer: "breaker", Kind: turret.EventRefuse})
	require.Equal(t, []string{"outer: breaker refuse after 0s"}, told, "who observes further in has no part in it")
}

func TestAnObserverThatIsNonePanicsWhereItIsGiven(t *testing.T) {
	require.PanicsWithValue(t, "turret: WithObserver needs a function that observes; it was given nil",
		func() { turret.WithObserver(t.Context(), nil) })
}

func TestReportToNobodyCostsNoAllocation(t *testing.T) {
	e := turret.Event{Layer: "retry", Kind: turret.EventRetry, Err: errors.New("down")}
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { turret.Report(ctx, e) }))
}

func TestAReplicaIsKnownBelowItsFanOut(t *testing.T) {
	require.Empty(t, turret.Replica(t.Context()))
	home := turret.WithReplica(t.Context(), "eu-west-1")
	require.Equal(t, "eu-west-1", turret.Replica(home))
	require.Equal(t, "b", turret.Replica(turret.WithReplica(home, "b")), "the nearest one")
}
