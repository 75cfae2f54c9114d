package hedge_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/hedge"
)

// obedient takes as long as its request says, and then fails if that says so.
// Hedges take always the same.
type obedient struct {
	hedged   time.Duration
	mu       sync.Mutex
	original map[int]bool
	hedges   int
}

type wish struct {
	id    int
	takes time.Duration
	err   error
}

func (o *obedient) Call(ctx context.Context, w wish) (int, error) {
	o.mu.Lock()
	again := o.original[w.id]
	if o.original == nil {
		o.original = make(map[int]bool)
	}
	o.original[w.id] = true
	if again {
		o.hedges++
	}
	o.mu.Unlock()
	if again {
		return w.id, after(ctx, o.hedged)
	}
	return w.id, cmp.Or(after(ctx, w.takes), w.err)
}

// measured is a hedged obedient service with a way to call it.
type measured struct {
	*obedient
	turret.Service[wish, int]
	calls int
}

func measure(o hedge.Options) *measured {
	inner := &obedient{}
	return &measured{obedient: inner, Service: hedge.Layer[wish, int](o)(inner)}
}

// call makes a call that takes d unless it is hedged, and reports how long it took.
func (m *measured) call(t *testing.T, d time.Duration) time.Duration {
	t.Helper()
	m.calls++
	start := time.Now()
	_, err := m.Service.Call(t.Context(), wish{id: m.calls, takes: d})
	require.NoError(t, err)
	return time.Since(start)
}

func TestPastThePercentileOfRecentSuccessesOneMoreIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for percentile, want := range map[float64]time.Duration{0: 95 * ms, 0.5: 50 * ms, 0.99: 99 * ms} {
			budget := hedge.NewBudget(1e-4)
			m := measure(hedge.Options{Percentile: percentile, Budget: budget})
			for i := range 1000 {
				m.call(t, time.Duration(i%100+1)*ms)
			}
			<-time.After(time.Second)
			m.call(t, 1*ms) // looks at the window
			for range 10_000 {
				budget.Deposit() // enough for one
			}
			require.Equal(t, want+1, m.call(t, time.Minute), "percentile %v", percentile)
			require.Equal(t, 1, m.hedges)
		}
	})
}

func TestNoHedgeBeforeThePercentileIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for percentile, enough := range map[float64]int{0.95: 20, 0.99: 100} {
			m := measure(hedge.Options{Percentile: percentile, Budget: every()})
			for range enough - 1 {
				m.call(t, 10*ms)
			}
			require.Equal(t, time.Minute, m.call(t, time.Minute))
			require.Zero(t, m.hedges)
			m = measure(hedge.Options{Percentile: percentile, Budget: every()})
			for range enough {
				m.call(t, 10*ms)
			}
			require.Equal(t, 10*ms+1, m.call(t, time.Minute))
			require.Equal(t, 1, m.hedges)
		}
	})
}

func TestOneOfTheFirstTwentyThatWasSlowDoesNotHoldUpHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := measure(hedge.Options{Budget: every()})
		m.call(t, time.Minute)
		for range 19 {
			m.call(t, 10*ms)
		}
		require.Equal(t, 10*ms+1, m.call(t, time.Minute))
	})
}

func TestCallsThatTakeJustThePercentileAreNotHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := measure(hedge.Options{Budget: every()})
		for range 1000 {
			require.Equal(t, 10*ms, m.call(t, 10*ms))
		}
		require.Zero(t, m.hedges)
	})
}

func TestThePercentileMovesWithItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := measure(hedge.Options{})
		for range 1000 {
			m.call(t, 500*ms)
		}
		for range 1000 {
			m.call(t, 10*ms)
		}
		m.hedges = 0
		require.Equal(t, 10*ms+1, m.call(t, time.Minute), "what was slow is forgotten")
		for range 1100 { // more than the budget is for: they are seen in full
			m.call(t, 50*ms)
		}
		require.Equal(t, 50*ms+1, m.call(t, time.Minute), "and what was fast")
	})
}

func TestOriginalsThatLostKeepThePercentileWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := measure(hedge.Options{Percentile: 0.9, Budget: every()})
		m.hedged = 5 * ms
		for range 1000 {
			m.call(t, 10*ms)
		}
		// One in eight is slow now, and hedged: that is more than a tenth. Counted
		// in full they would push the percentile up; not counted, they would let
		// it fall.
		random := rand.New(rand.NewPCG(1, 2))
		for i := range 5000 {
			if i%8 == 0 {
				m.call(t, time.Hour)
			} else {
				m.call(t, time.Duration(random.Int64N(int64(10*ms))))
			}
		}
		require.InDelta(t, 15*ms, m.call(t, time.Hour), float64(ms/10))
	})
}

func TestFailuresAreNoLatencies(t *testing.T) {
	fail := func(t *testing.T, m *measured, d time.Duration) error {
		m.calls++
		_, err := m.Service.Call(t.Context(), wish{m.calls, d, errDown})
		return err
	}
	synctest.Test(t, func(t *testing.T) { // of calls that cannot be hedged yet
		m := measure(hedge.Options{Budget: every()})
		for range 100 {
			require.Error(t, fail(t, m, 1*ms))
		}
		require.Equal(t, time.Minute, m.call(t, time.Minute))
	})
	synctest.Test(t, func(t *testing.T) { // of calls that fail before the delay
		m := measure(hedge.Options{Budget: every()})
		for range 20 {
			m.call(t, 10*ms)
		}
		for range 1000 {
			require.Error(t, fail(t, m, 1*ms))
		}
		require.Equal(t, 10*ms+1, m.call(t, time.Minute))
	})
	synctest.Test(t, func(t *testing.T) { // of originals that failed and did not lose
		m := measure(hedge.Options{Budget: every()})
		m.hedged = 20 * ms
		for range 20 {
			m.call(t, 10*ms)
		}
		for i := range 2000 {
			if i%5 == 0 {
				require.NoError(t, fail(t, m, 15*ms))
			}
			m.call(t, 1*ms)
		}
		require.Equal(t, 21*ms+1, m.call(t, time.Minute))
	})
}

func TestTheWindowUnder64Callers(t *testing.T) {
	s := hedge.Layer[int, int](hedge.Options{})(turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { return n, nil }))
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for n := range 200 {
				got, err := s.Call(t.Context(), n)
				assert.NoError(t, err)
				assert.Equal(t, n, got)
			}
		})
	}
	wg.Wait()
}
