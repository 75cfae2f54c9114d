package balance_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// twoBeside is a retry over a balancer that probes beside the calls; an attempt
// has a second.
func twoBeside(t *testing.T, o balance.Options) (s svc, b *balance.Balancer[int, string], ill, well *server) {
	ill, well = newServer("ill", 10*time.Millisecond), newServer("well", 10*time.Millisecond)
	o.Beside, o.Names = true, []string{"ill", "well"}
	attempt := timeout.Layer[int, string](time.Second)
	b = balance.New(o, attempt(ill), attempt(well))
	s = retry.Layer[int, string](retry.Options{Backoff: retry.Backoff{Min: time.Nanosecond, Max: time.Nanosecond}})(b)
	t.Cleanup(func() { require.NoError(t, turret.Close(s)) })
	return s, b, ill, well
}

func TestAProbeBesideTheCallsCostsNoneOfThemAnything(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var out atomic.Bool
		s, _, ill, _ := twoBeside(t, balance.Options{MaxProbation: 2 * time.Second, OnChange: func(e balance.Event) { out.Store(e.Out > 0) }})
		load(t, s, 4, time.Second)
		ill.takes.Store(int64(time.Hour))
		late := 0
		for !out.Load() {
			start := time.Now()
			_, err := s.Call(t.Context(), 1)
			require.NoError(t, err)
			if time.Since(start) > time.Second {
				late++
			}
		}
		require.LessOrEqual(t, late, 5, "the first calls find out")
		asked := ill.calls.Load()
		for range 10_000 {
			start := time.Now()
			who, err := s.Call(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, "well", who)
			require.Equal(t, 10*time.Millisecond, time.Since(start))
		}
		require.Greater(t, ill.calls.Load(), asked+20, "it is probed")

		ill.takes.Store(int64(10 * time.Millisecond))
		load(t, s, 4, 10*time.Second)
		asked = ill.calls.Load()
		n := load(t, s, 4, 10*time.Second)
		require.InDelta(t, 0.5, float64(ill.calls.Load()-asked)/float64(n), 0.1, "it is used again")
	})
}

func TestCloseEndsAProbeBesideTheCalls(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var out atomic.Int64
		s, b, ill, _ := twoBeside(t, balance.Options{OnChange: func(e balance.Event) { out.Store(int64(e.Out)) }})
		ill.fail(errBoom)
		for out.Load() == 0 {
			_, _ = s.Call(t.Context(), 1)
		}
		ill.takes.Store(int64(time.Hour))
		<-time.After(time.Duration(out.Load()))
		before := ill.calls.Load()
		_, err := s.Call(t.Context(), 1)
		require.NoError(t, err)
		require.EqualValues(t, 1, ill.underWay.Load())
		start := time.Now()
		require.NoError(t, b.Close())
		require.Zero(t, time.Since(start))
		require.Zero(t, ill.underWay.Load())
		require.Equal(t, before+1, ill.calls.Load())
		<-time.After(time.Hour)
		_, err = s.Call(t.Context(), 1)
		require.NoError(t, err, "calls go on")
		synctest.Wait()
		require.Equal(t, before+1, ill.calls.Load(), "without probes")
	})
}
