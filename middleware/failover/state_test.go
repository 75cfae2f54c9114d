package failover_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/failover"
)

func state(t *testing.T, svc any) string {
	t.Helper()
	s, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	return s.String()
}

var errDown = turret.WithClass(context.DeadlineExceeded, turret.Transient)

func TestStateTellsHowEachReplicaIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, _ := watched(t, failover.Options{Failures: 2})
		require.Equal(t, "failover=[east=[health=well failures=0] west=[health=well failures=0]]", state(t, s))
		east.is(errDown, 0)
		call(t, s)
		require.Equal(t, "failover=[east=[health=ailing failures=1] west=[health=well failures=0]]", state(t, s))
		call(t, s)
		require.Equal(t, "failover=[east=[health=away failures=2] west=[health=well failures=0]]", state(t, s))

		east.is(nil, 0)
		<-time.After(time.Second)
		call(t, s) // and a probe
		synctest.Wait()
		require.Equal(t, "failover=[east=[health=well failures=0] west=[health=well failures=0]]", state(t, s))
	})
}

func TestOfReplicasThatAreNotWatchedThereIsNoState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := watched(t, failover.Options{})
		require.Equal(t, "failover=[]", state(t, s))
	})
}

func TestInspectNamesTheReplicas(t *testing.T) {
	east, west := &place{name: "east"}, &place{name: "west"}
	below := turret.Inspect(failover.New(failover.Options{Names: []string{"eu"}}, turret.Service[int, string](east), west)).Below
	require.Len(t, below, 2)
	require.Equal(t, "eu", below[0].Replica)
	require.Same(t, east, below[0].Service)
	require.Equal(t, "replica 2", below[1].Replica)
	require.Same(t, west, below[1].Service)
}

func TestObserversHearOfFailoversAndOfReplicasThatGoAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, west := watched(t, failover.Options{Failures: 2})
		var mu sync.Mutex // a probe tells in a goroutine of its own
		var events []turret.Event
		ctx := turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		})
		expect := func(want ...turret.Event) {
			t.Helper()
			_, _ = s.Call(ctx, 1)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			for i := range want {
				want[i].Layer = "failover"
			}
			require.Equal(t, want, events)
			events = nil
		}
		next := turret.Event{Kind: turret.EventNext, Err: errDown, From: "east", To: "west"}

		expect()
		east.is(errDown, 0)
		expect(next)
		expect(turret.Event{Kind: turret.EventChange, Name: "east", Err: errDown, From: "ailing", To: "away"}, next)
		expect()

		east.is(nil, 0)
		<-time.After(time.Second)
		expect(turret.Event{Kind: turret.EventChange, Name: "east", From: "away", To: "well"})

		west.is(errDown, 0)
		east.is(errDown, 0)
		expect(next)
	})
}
