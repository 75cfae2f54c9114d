package adaptive

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// knowing returns an estimator with a limit of 100 whose service is known to
// take 20 ms.
func knowing() *estimator {
	e := newEstimator(Options{Initial: 100}.withDefaults())
	e.next(sight{answers: 10, mean: 20 * ms, peak: 100})
	e.guess = false
	e.prove()
	return &e
}

func TestEstimator(t *testing.T) {
	for _, tt := range []struct {
		name  string
		seen  sight
		limit int
		why   Reason
	}{
		{"grows by half of its root where it is used up", sight{answers: 10, mean: 20 * ms, peak: 100}, 105, Headroom},
		{"grows where it is nearly used up", sight{answers: 10, mean: 20 * ms, peak: 90}, 105, Headroom},
		{"stays where it is not", sight{answers: 10, mean: 20 * ms, peak: 89}, 100, Headroom},
		{"stays within the tolerance where it is not used up", sight{answers: 10, mean: 22 * ms, peak: 70}, 100, Headroom},
		{"goes half of the way to where latency says", sight{answers: 10, mean: 44 * ms, peak: 100}, 77, Latency},
		{"learns nothing else of it where half of it is used", sight{answers: 10, mean: 44 * ms, peak: 50}, 100, Headroom},
		{"does not grow on overload", sight{answers: 99, overloads: 1, mean: 20 * ms, peak: 100}, 99, Overload},
		{"falls on overload that has no answers", sight{overloads: 10, peak: 100}, 50, Overload},
		{"falls by the two together", sight{answers: 50, overloads: 50, mean: 44 * ms, peak: 100}, 58, Overload},
	} {
		t.Run(tt.name, func(t *testing.T) {
			limit, why := knowing().next(tt.seen)
			require.Equal(t, tt.limit, limit)
			require.Equal(t, tt.why, why)
		})
	}
}

func TestEstimatorGrowsByOneAtLeast(t *testing.T) {
	e := knowing()
	e.limit = 1
	limit, _ := e.next(sight{answers: 10, mean: 20 * ms, peak: 1})
	require.Equal(t, 2, limit)
}

func TestEstimatorFollowsAServiceThatBecomesFaster(t *testing.T) {
	e := knowing()
	for range 30 {
		e.next(sight{answers: 10, mean: 15 * ms, peak: 70})
	}
	require.InDelta(t, 15*ms, e.unloaded, float64(ms)/2)
}

func TestEstimatorLearnsWhileLittleIsUnderWay(t *testing.T) {
	e := knowing()
	for range 50 {
		limit, _ := e.next(sight{answers: 10, mean: 60 * ms, peak: 20})
		require.Equal(t, 100, limit)
	}
	require.InDelta(t, 60*ms, e.unloaded, float64(ms))
}

// windowsUntilProbe feeds e with windows until it probes.
func windowsUntilProbe(t *testing.T, e *estimator, seen sight) int {
	t.Helper()
	for n := range 100 {
		if _, why := e.next(seen); why == Probe {
			return n + 1
		}
	}
	t.Fatal("no probe")
	return 0
}

func TestEstimatorProbes(t *testing.T) {
	t.Run("soon where it only guesses", func(t *testing.T) {
		e := newEstimator(Options{}.withDefaults())
		require.Equal(t, 1+soon, windowsUntilProbe(t, &e, sight{answers: 10, mean: 20 * ms, peak: 20}))
	})
	t.Run("late where latency stays high", func(t *testing.T) {
		require.Equal(t, late, windowsUntilProbe(t, knowing(), sight{answers: 10, mean: 23 * ms, peak: 70}))
	})
	t.Run("at once where that has cost half the limit", func(t *testing.T) {
		require.Equal(t, 2, windowsUntilProbe(t, knowing(), sight{answers: 10, mean: 200 * ms, peak: 100}))
	})
	t.Run("soon where the service became twice as fast", func(t *testing.T) {
		require.Equal(t, soon, windowsUntilProbe(t, knowing(), sight{answers: 10, mean: 9 * ms, peak: 100}))
	})
}

func TestEstimatorLetsInHalfOfWhatTheServiceCanWorkOnInAProbe(t *testing.T) {
	e := knowing()
	windowsUntilProbe(t, e, sight{answers: 10, mean: 40 * ms, peak: 100})
	before := e.limit
	require.Equal(t, int(before*20/40/2), e.current())
	limit, _ := e.next(sight{answers: 10, mean: 40 * ms, peak: 100}) // drains
	require.Equal(t, e.current(), limit)
	require.Equal(t, 20*ms, e.unloaded)
	limit, why := e.next(sight{answers: 10, mean: 25 * ms, peak: limit}) // measures
	require.Equal(t, int(before), limit)
	require.Equal(t, Probe, why)
	require.Equal(t, 25*ms, e.unloaded)
}

// Little under way is as good as a probe, and puts the next one off.
func TestEstimatorNeedsNoProbeSoonAfterLittleWasUnderWay(t *testing.T) {
	e := knowing()
	e.patience = 1
	e.next(sight{answers: 10, mean: 20 * ms, peak: 20})
	_, why := e.next(sight{answers: 10, mean: 24 * ms, peak: 100})
	require.Equal(t, Latency, why)
	require.Equal(t, idle, e.probe)
}
