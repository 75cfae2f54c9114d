package coalesce_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/coalesce"
)

// slow answers after a second, or when its context is done.
var slow = turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
	select {
	case <-time.After(time.Second):
		return n, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
})

func TestStateCountsTheFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := coalesce.Layer[int, int, int](func(n int) int { return n })(slow)
		state := func() string {
			s, ok := turret.Inspect(svc).State()
			require.True(t, ok)
			return s.String()
		}
		require.Equal(t, "coalesce=[flights=0]", state())
		for _, n := range []int{1, 1, 2} {
			go func() { _, _ = svc.Call(t.Context(), n) }()
		}
		synctest.Wait()
		require.Equal(t, "coalesce=[flights=2]", state())
		<-time.After(time.Minute)
		require.Equal(t, "coalesce=[flights=0]", state())
	})
}

func TestObserversHearOfWhoJoinsAFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := coalesce.Layer[int, int, int](func(n int) int { return n })(slow)
		var mu sync.Mutex
		told := make(map[string][]turret.Event)
		call := func(who string, n int) {
			ctx := turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) {
				mu.Lock()
				defer mu.Unlock()
				told[who] = append(told[who], e)
			})
			go func() { _, _ = svc.Call(ctx, n) }()
			synctest.Wait()
		}
		call("first", 1)
		call("second", 1)
		call("other", 2)
		<-time.After(time.Minute)
		call("late", 1)
		<-time.After(time.Minute)
		require.Equal(t, map[string][]turret.Event{"second": {{Layer: "coalesce", Kind: turret.EventJoin}}}, told)
	})
}

func TestAnObserverThatPanicsKeepsNoSeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled := make(chan struct{})
		svc := coalesce.Layer[int, int, int](func(n int) int { return n })(turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
			<-ctx.Done()
			close(cancelled)
			return 0, ctx.Err()
		}))
		first, leave := context.WithCancel(t.Context())
		go func() { _, _ = svc.Call(first, 1) }()
		synctest.Wait()
		ctx := turret.WithObserver(t.Context(), func(context.Context, turret.Event) { panic("observer") })
		require.PanicsWithValue(t, "observer", func() { _, _ = svc.Call(ctx, 1) })
		leave()
		<-cancelled // for nobody is left
	})
}
