package breaker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

// setBack has the clock of the wall set back while b is open: by the monotonic one
// its time is over, and by what gobreaker keeps it is not.
func setBack(b *Breaker) {
	e := b.engine.Load()
	p := *e.phase.Load()
	p.until = time.Now()
	e.phase.Store(&p)
}

func TestABreakerThatOthersOpenedIsHalfOpenInTimeThoughTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		b := New(gobreaker.Settings{OnStateChange: func(_ string, from, to gobreaker.State) { told = append(told, from.String()+" to "+to.String()) }})
		calls := 0
		svc := Share[int, int](b)(turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { calls++; return n, nil }))
		b.Open(time.Hour, "others")
		_, err := svc.Call(t.Context(), 1)
		require.ErrorIs(t, err, ErrOpen)
		setBack(b)
		require.NoError(t, turret.Ready(svc))
		_, err = svc.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, 1, calls)
		require.Equal(t, gobreaker.StateClosed, b.State())
		require.Equal(t, []string{"closed to open", "open to half-open", "half-open to closed"}, told)
	})
}

func TestOfManyWhoFindThatTheClockWasSetBackOneIsTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(gobreaker.Settings{})
		hang := make(chan struct{})
		svc := Share[int, int](b)(turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { <-hang; return n, nil }))
		b.Open(time.Hour, "others")
		setBack(b)
		results := make(chan error, 64)
		for range cap(results) {
			go func() {
				_, err := svc.Call(t.Context(), 1)
				results <- err
			}()
		}
		synctest.Wait()
		require.Len(t, results, cap(results)-1)
		close(hang)
		synctest.Wait()
		require.Equal(t, gobreaker.StateClosed, b.State())
	})
}
