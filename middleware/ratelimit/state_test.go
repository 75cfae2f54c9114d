package ratelimit_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
)

func state(t *testing.T, svc any) string {
	t.Helper()
	s, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	return s.String()
}

func TestStateTellsTokensAndQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := wrap(ratelimit.Options{Rate: 10, Burst: 2}, &backend{})
		assert.Equal(t, "ratelimit=[rate=10 burst=2 tokens=2 queue=0]", state(t, svc))

		for range 2 {
			_, err := svc.Call(t.Context(), 1)
			require.NoError(t, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			go func() { _, _ = svc.Call(ctx, 1) }()
		}
		synctest.Wait()
		assert.Equal(t, "ratelimit=[rate=10 burst=2 tokens=0 queue=3]", state(t, svc))

		<-time.After(50 * time.Millisecond)
		assert.Equal(t, "ratelimit=[rate=10 burst=2 tokens=0.5 queue=3]", state(t, svc))

		cancel()
		synctest.Wait()
		assert.Equal(t, "ratelimit=[rate=10 burst=2 tokens=0.5 queue=0]", state(t, svc), "asking takes nothing")
	})
}

func TestASharedLimiterReadsTheSameInEachStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 10, Burst: 1})
		busy := &backend{err: turret.WithClass(errOpen, turret.Throttled)}
		first, second := wrap(ratelimit.Options{Limiter: limiter}, busy), wrap(ratelimit.Options{Limiter: limiter}, &backend{})
		_, _ = first.Call(t.Context(), 1)
		assert.Equal(t, state(t, first), state(t, second))
		assert.Equal(t, fmt.Sprintf("ratelimit=[rate=%v burst=1 tokens=0 queue=0]", float64(limiter.Rate())), state(t, first))
		assert.Less(t, float64(limiter.Rate()), 10.0)
	})
}

// silent is a limiter of the least kind, and telling one with a state.
type silent struct{ err error }

func (s silent) Wait(context.Context, time.Duration) error { return s.err }

type telling struct{ silent }

func (telling) State() slog.Attr { return slog.Group("fleet", slog.Bool("shared", true)) }

type odd struct{ silent }

func (odd) State() slog.Attr { return slog.String("state", "fine") }

func TestALimiterOfOnesOwnHasItsOwnState(t *testing.T) {
	for _, tc := range []struct {
		limiter ratelimit.Limiter
		want    string
	}{
		{telling{}, "ratelimit=[shared=true]"},
		{silent{}, "ratelimit=[]"},
		{odd{}, "ratelimit=[]"},
	} {
		assert.Equal(t, tc.want, state(t, wrap(ratelimit.Options{Limiter: tc.limiter}, &backend{})), "%T", tc.limiter)
	}
}

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfWaitsAndRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := wrap(ratelimit.Options{Rate: 10, Burst: 1, MaxWait: time.Second}, &backend{})
		ctx, events := observed(t)
		_, err := svc.Call(ctx, 1)
		require.NoError(t, err)
		assert.Empty(t, *events, "there was a token")

		_, err = svc.Call(ctx, 1)
		require.NoError(t, err)
		assert.Equal(t, []turret.Event{{Layer: "ratelimit", Kind: turret.EventWait, Delay: 100 * time.Millisecond}}, *events)

		*events = nil
		for range 10 {
			go func() { _, _ = svc.Call(t.Context(), 1) }()
		}
		synctest.Wait()
		_, err = svc.Call(ctx, 1)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		assert.Equal(t, []turret.Event{{Layer: "ratelimit", Kind: turret.EventRefuse, Err: err}}, *events, "it did not wait")
		<-time.After(time.Minute)
	})
}

func TestAWaitInVainIsAWaitAndARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket, below := ratelimit.New(10, 1), &backend{}
		svc := wrap(ratelimit.Options{Limiter: bucket}, below)
		ctx, events := observed(t)
		_, err := svc.Call(ctx, 1)
		require.NoError(t, err)

		time.AfterFunc(50*time.Millisecond, func() { below.open.Store(true) })
		_, err = svc.Call(ctx, 1)
		require.ErrorIs(t, err, errOpen)
		assert.Equal(t, []turret.Event{
			{Layer: "ratelimit", Kind: turret.EventWait, Delay: 100 * time.Millisecond},
			{Layer: "ratelimit", Kind: turret.EventUnready, Err: errOpen},
		}, *events, "it was not over the limit")

		*events = nil
		_, err = svc.Call(ctx, 1)
		require.Equal(t, errOpen, err, "as it is")
		assert.Equal(t, []turret.Event{{Layer: "ratelimit", Kind: turret.EventUnready, Err: errOpen}}, *events, "it did not wait")
	})
}

func TestACallerWhoLeavesTheQueueIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := wrap(ratelimit.Options{Rate: 10, Burst: 1}, &backend{})
		_, err := svc.Call(t.Context(), 1)
		require.NoError(t, err)
		ctx, events := observed(t)
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(40*time.Millisecond, cancel)
		_, err = svc.Call(ctx, 1)
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, []turret.Event{{Layer: "ratelimit", Kind: turret.EventWait, Delay: 40 * time.Millisecond}}, *events)
	})
}

func TestAnObserverThatPanicsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := wrap(ratelimit.Options{Rate: 10, Burst: 1}, &backend{})
		_, err := svc.Call(t.Context(), 1)
		require.NoError(t, err)
		ctx := turret.WithObserver(t.Context(), func(context.Context, turret.Event) { panic("observer") })
		assert.PanicsWithValue(t, "observer", func() { _, _ = svc.Call(ctx, 1) })
		_, err = svc.Call(t.Context(), 1)
		require.NoError(t, err)
		assert.Contains(t, state(t, svc), "queue=0")
	})
}

func TestTheLayerReportsWhatALimiterOfOnesOwnRefuses(t *testing.T) {
	down := turret.WithClass(errOpen, turret.Transient)
	svc := wrap(ratelimit.Options{Limiter: silent{down}}, &backend{})
	ctx, events := observed(t)
	_, err := svc.Call(ctx, 1)
	require.ErrorIs(t, err, down)
	assert.Equal(t, []turret.Event{{Layer: "ratelimit", Kind: turret.EventRefuse, Err: down}}, *events)
}
