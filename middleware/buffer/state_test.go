package buffer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/buffer"
)

func state(t *testing.T, svc any) string {
	t.Helper()
	s, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	return s.String()
}

func TestStateTellsTheQueueOfAllStreams(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 2, WaitForRoom: time.Hour}, func(t *testing.T, c *card, b *stream) {
		require.Equal(t, "buffer=[queue=0 waiting_for_room=0 busy=false]", state(t, b))
		for n := range 4 {
			go func() { _, _ = b.Call(t.Context(), n) }()
		}
		synctest.Wait()
		require.Equal(t, "buffer=[queue=2 waiting_for_room=1 busy=true]", state(t, b))
		require.Equal(t, state(t, b), state(t, b.Clone()))
		<-time.After(1500 * time.Millisecond)
		require.Equal(t, "buffer=[queue=2 waiting_for_room=0 busy=true]", state(t, b))
		<-time.After(time.Minute)
		require.Equal(t, "buffer=[queue=0 waiting_for_room=0 busy=false]", state(t, b))
	})
}

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func refusal(err error) []turret.Event {
	return []turret.Event{{Layer: "buffer", Kind: turret.EventRefuse, Err: err}}
}

func TestObserversHearOfRefusals(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 1}, func(t *testing.T, c *card, b *stream) {
		ctx, events := observed(t)
		_, err := b.Call(ctx, 1)
		require.NoError(t, err)
		require.Empty(t, *events)

		for range 2 {
			go func() { _, _ = b.Call(t.Context(), 1) }()
		}
		synctest.Wait()
		_, err = b.Call(ctx, 1)
		require.ErrorIs(t, err, buffer.ErrFull)
		require.Equal(t, refusal(err), *events)

		*events = nil
		<-time.After(time.Minute)
		require.NoError(t, b.Close())
		_, err = b.Call(ctx, 1)
		require.ErrorIs(t, err, buffer.ErrClosed)
		require.Equal(t, refusal(err), *events)
	})
}

func TestARefusalAfterAWaitForRoomIsReported(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 1, WaitForRoom: time.Millisecond}, func(t *testing.T, c *card, b *stream) {
		for range 2 {
			go func() { _, _ = b.Call(t.Context(), 1) }()
		}
		synctest.Wait()
		ctx, events := observed(t)
		_, err := b.Call(ctx, 1)
		require.ErrorIs(t, err, buffer.ErrFull)
		require.Equal(t, refusal(err), *events)
	})
}

func TestOfThoseWhomAStopLeavesBehindTheUnservedAreRefused(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		told := make(map[int]error)
		var errs [3]error
		for n := range 3 {
			ctx := turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { told[n] = e.Err })
			if n == 2 {
				var cancel func()
				ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
			}
			go func() { _, errs[n] = b.Call(ctx, n) }()
			synctest.Wait()
		}
		<-time.After(2 * time.Millisecond)
		b.Abort(nil)
		synctest.Wait()
		require.ErrorIs(t, errs[0], buffer.ErrClosed)
		require.ErrorIs(t, errs[2], context.DeadlineExceeded)
		require.Equal(t, map[int]error{1: errs[1]}, told, "the first was under way, and the last had gone")
	})
}

func TestWhomAStopLeavesBehindIsNotInTheQueue(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 2, WaitForRoom: time.Hour}, func(t *testing.T, c *card, b *stream) {
		for n := range 4 {
			begin(t.Context(), b, n)
		}
		require.Equal(t, "buffer=[queue=2 waiting_for_room=1 busy=true]", state(t, b))
		b.Abort(nil)
		synctest.Wait()
		require.Equal(t, "buffer=[queue=0 waiting_for_room=0 busy=false]", state(t, b))
	})
}
