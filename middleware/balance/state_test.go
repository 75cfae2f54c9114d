package balance_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
)

func state(t *testing.T, svc any) string {
	t.Helper()
	s, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	return s.String()
}

const ms = time.Millisecond

func TestStateTellsHowEachMemberIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newServer("a", 100*ms), newServer("b", 100*ms)
		s := pool(balance.Options{Failures: 2}, a, b)
		require.Equal(t, "balance=[a=[health=in in_flight=0 latency=0s failures=0] b=[health=in in_flight=0 latency=0s failures=0]]", state(t, s))

		for range 3 {
			go func() { _, _ = s.Call(t.Context(), 1) }()
			synctest.Wait()
		}
		require.Regexp(t, `in_flight=1 .* in_flight=2 |in_flight=2 .* in_flight=1 `, state(t, s))
		<-time.After(100 * ms)
		synctest.Wait()
		require.Equal(t, "balance=[a=[health=in in_flight=0 latency=100ms failures=0] b=[health=in in_flight=0 latency=100ms failures=0]]", state(t, s))

		a.fail(errBoom)
		for a.calls.Store(0); a.calls.Load() < 1; {
			_, _ = s.Call(t.Context(), 1)
		}
		require.Contains(t, state(t, s), "a=[health=in in_flight=0 latency=")
		require.Contains(t, state(t, s), " failures=1] b=[health=in ")
		for a.calls.Load() < 2 {
			_, _ = s.Call(t.Context(), 1)
		}
		require.Contains(t, state(t, s), "a=[health=on probation in_flight=0 latency=")
		require.Contains(t, state(t, s), " failures=0] b=[health=in ")
	})
}

func TestStateOfNoMembersIsEmpty(t *testing.T) {
	s := pool(balance.Options{})
	require.Equal(t, "balance=[]", state(t, s))
	s.Insert("late", newServer("late", 0))
	require.Equal(t, "balance=[late=[health=in in_flight=0 latency=0s failures=0]]", state(t, s))
}

func TestAMemberThatLeavesIsCountedAsItIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := pool(balance.Options{}, newServer("a", time.Second))
		go func() { _, _ = s.Call(t.Context(), 1) }()
		synctest.Wait()
		require.Contains(t, state(t, s), "in_flight=1 ")
		s.Remove("a")
		require.Equal(t, "balance=[]", state(t, s))
		<-time.After(time.Minute)
	})
}

func TestInspectNamesTheMembers(t *testing.T) {
	a, b := newServer("a", 0), newServer("b", 0)
	below := turret.Inspect(pool(balance.Options{}, a, b)).Below
	require.Len(t, below, 2)
	require.Equal(t, "a", below[0].Replica)
	require.Same(t, a, below[0].Service)
	require.Equal(t, "b", below[1].Replica)
	require.Same(t, b, below[1].Service)
}

func TestObserversHearOfMembersThatGoOnProbationAndComeBack(t *testing.T) {
	for _, beside := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			a, b := newServer("a", ms), newServer("b", ms)
			s := pool(balance.Options{Beside: beside, Probation: 4 * time.Second, MaxProbation: 4 * time.Second}, a, b)
			defer func() { require.NoError(t, s.Close()) }()
			var mu sync.Mutex // a probe may tell in a goroutine of its own
			var events []turret.Event
			ctx := turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			})
			take := func() (taken []turret.Event) {
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				taken, events = events, nil
				return taken
			}
			a.fail(errBoom)
			for a.calls.Load() < 1 {
				_, _ = s.Call(ctx, 1)
			}
			went := take()
			require.Len(t, went, 1)
			require.Greater(t, went[0].Delay, time.Second)
			require.Equal(t, turret.Event{Layer: "balance", Kind: turret.EventChange, Name: "a", From: "in", To: "on probation", Err: errBoom, Delay: went[0].Delay}, went[0])

			<-time.After(5 * time.Second)
			_, _ = s.Call(ctx, 1)
			require.Empty(t, take(), "a probe that failed changes nothing")
			require.EqualValues(t, 2, a.calls.Load())

			a.recover()
			<-time.After(5 * time.Second)
			_, _ = s.Call(ctx, 1)
			require.Equal(t, []turret.Event{{Layer: "balance", Kind: turret.EventChange, Name: "a", From: "on probation", To: "in"}}, take())
		})
	}
}

func TestObserversHearThatThereWasNobodyToAsk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var events []turret.Event
		ctx := turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) })
		_, err := pool(balance.Options{}).Call(ctx, 1)
		require.ErrorIs(t, err, balance.ErrNoMembers)
		require.Equal(t, []turret.Event{{Layer: "balance", Kind: turret.EventRefuse, Err: err}}, events)

		events = nil
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = pool(balance.Options{Wait: true}).Call(ctx, 1)
		require.ErrorIs(t, err, balance.ErrNoMembers)
		require.Empty(t, events, "a caller who went is no refusal")
	})
}
