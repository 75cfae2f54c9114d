package concurrency_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/concurrency"
)

func state(t *testing.T, svc any) string {
	t.Helper()
	s, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	return s.String()
}

func TestStateTellsOfAllWhoShareTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newBackend()
		o := concurrency.Options{Limit: concurrency.New(2)}
		first, second := wrap(o, below), wrap(o, below)
		require.Equal(t, "concurrency=[in_flight=0 limit=2 queue=0]", state(t, first))

		for range 5 {
			go func() { _, _ = first.Call(t.Context(), 1) }()
		}
		synctest.Wait()
		require.Equal(t, "concurrency=[in_flight=2 limit=2 queue=3]", state(t, first))
		require.Equal(t, state(t, first), state(t, second))

		below.finish()
		require.Equal(t, "concurrency=[in_flight=0 limit=2 queue=0]", state(t, first))
	})
}

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfWaitsAndRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := wrap(concurrency.Options{Max: 1, MaxQueue: 1, MaxWait: 2 * time.Second},
			turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) {
				<-time.After(time.Duration(n) * time.Second)
				return n, nil
			}))
		ctx, events := observed(t)
		_, err := svc.Call(ctx, 0)
		require.NoError(t, err)
		require.Empty(t, *events, "there was a place")

		go func() { _, _ = svc.Call(t.Context(), 1) }()
		synctest.Wait()
		_, err = svc.Call(ctx, 0)
		require.NoError(t, err)
		require.Equal(t, []turret.Event{{Layer: "concurrency", Kind: turret.EventWait, Delay: time.Second}}, *events)

		*events = nil
		go func() { _, _ = svc.Call(t.Context(), 3) }()
		synctest.Wait()
		_, err = svc.Call(ctx, 0)
		require.ErrorIs(t, err, concurrency.ErrFull)
		require.Equal(t, []turret.Event{
			{Layer: "concurrency", Kind: turret.EventWait, Delay: 2 * time.Second},
			{Layer: "concurrency", Kind: turret.EventRefuse, Err: err},
		}, *events, "it waited in vain")

		*events = nil
		go func() { _, _ = svc.Call(t.Context(), 0) }()
		synctest.Wait()
		_, err = svc.Call(ctx, 0)
		require.ErrorIs(t, err, concurrency.ErrFull)
		require.Equal(t, []turret.Event{{Layer: "concurrency", Kind: turret.EventRefuse, Err: err}}, *events, "there was no room to wait")
		<-time.After(time.Minute)
	})
}

func TestACallerWhoLeavesTheQueueIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := newBackend()
		svc := wrap(concurrency.Options{Max: 1}, below)
		go func() { _, _ = svc.Call(t.Context(), 1) }()
		synctest.Wait()
		ctx, events := observed(t)
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := svc.Call(ctx, 2)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []turret.Event{{Layer: "concurrency", Kind: turret.EventWait, Delay: time.Second}}, *events)
		below.finish()
	})
}

func TestAnObserverOrHookThatPanicsKeepsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := concurrency.New(1)
		panics := func() { panic("observer") }
		slow := wrap(concurrency.Options{Limit: limit}, turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
			<-time.After(time.Second)
			return 0, nil
		}))
		hooked := wrap(concurrency.Options{Limit: limit, OnWait: func(context.Context, concurrency.Wait) { panics() }}, slow)
		require.PanicsWithValue(t, "observer", func() { _, _ = hooked.Call(t.Context(), 1) })
		require.Zero(t, limit.InUse())

		go func() { _, _ = slow.Call(t.Context(), 1) }()
		synctest.Wait()
		ctx := turret.WithObserver(t.Context(), func(context.Context, turret.Event) { panics() })
		require.PanicsWithValue(t, "observer", func() { _, _ = slow.Call(ctx, 1) })
		require.Zero(t, limit.InUse())
	})
}
