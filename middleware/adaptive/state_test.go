package adaptive_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
)

func state(t *testing.T, svc any) string {
	t.Helper()
	s, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	return s.String()
}

func TestStateTellsTheLimitAndWhatItFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Options{Initial: 2, Max: 2})
		svc := share(l, returning(10*time.Millisecond, nil))
		require.Equal(t, "adaptive=[in_flight=0 limit=2 queue=0 latency=0s unloaded_latency=0s]", state(t, svc))

		end := load(svc, 5)
		<-time.After(time.Second + time.Millisecond)
		synctest.Wait()
		require.Equal(t, "adaptive=[in_flight=2 limit=2 queue=3 latency=10ms unloaded_latency=10ms]", state(t, svc))
		require.Equal(t, state(t, svc), state(t, share(l, svc)), "of all who share it")
		end()
		require.Contains(t, state(t, svc), "in_flight=0 limit=2 queue=0")
	})
}

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfWaitsAndRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Options{Initial: 1, Max: 1, MaxQueue: 1, MaxWait: 2 * time.Second})
		svc, slow := share(l, returning(time.Second, nil)), share(l, returning(3*time.Second, nil))
		ctx, events := observed(t)
		_, err := svc.Call(ctx, 1)
		require.NoError(t, err)
		require.Empty(t, *events, "it was let in at once")

		go func() { _, _ = svc.Call(t.Context(), 1) }()
		synctest.Wait()
		_, err = svc.Call(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, []turret.Event{{Layer: "adaptive", Kind: turret.EventWait, Delay: time.Second}}, *events)

		*events = nil
		go func() { _, _ = slow.Call(t.Context(), 1) }()
		synctest.Wait()
		_, err = svc.Call(ctx, 1)
		require.ErrorIs(t, err, adaptive.ErrLimited)
		require.Equal(t, []turret.Event{
			{Layer: "adaptive", Kind: turret.EventWait, Delay: 2 * time.Second},
			{Layer: "adaptive", Kind: turret.EventRefuse, Err: err},
		}, *events, "it waited in vain")

		*events = nil
		go func() { _, _ = svc.Call(t.Context(), 1) }()
		synctest.Wait()
		_, err = svc.Call(ctx, 1)
		require.ErrorIs(t, err, adaptive.ErrLimited)
		require.Equal(t, []turret.Event{{Layer: "adaptive", Kind: turret.EventRefuse, Err: err}}, *events, "there was no room to wait")
		<-time.After(time.Minute)
	})
}

func TestACallerWhoLeavesTheQueueIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := share(adaptive.New(adaptive.Options{Initial: 1, Max: 1}), returning(time.Minute, nil))
		go func() { _, _ = svc.Call(t.Context(), 1) }()
		synctest.Wait()
		ctx, events := observed(t)
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := svc.Call(ctx, 2)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []turret.Event{{Layer: "adaptive", Kind: turret.EventWait, Delay: time.Second}}, *events)
		<-time.After(time.Hour)
	})
}

func TestAnObserverThatPanicsKeepsNoPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Options{Initial: 1, Max: 1})
		svc := share(l, returning(time.Second, nil))
		go func() { _, _ = svc.Call(t.Context(), 1) }()
		synctest.Wait()
		ctx := turret.WithObserver(t.Context(), func(context.Context, turret.Event) { panic("observer") })
		require.PanicsWithValue(t, "observer", func() { _, _ = svc.Call(ctx, 1) })
		require.Zero(t, l.InFlight())
	})
}
