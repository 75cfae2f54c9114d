package hedge_test

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/middleware/hedge"
)

func TestABudgetBoundsHedgesToFivePercentUnlessSet(t *testing.T) {
	for share, budget := range map[float64]*hedge.Budget{0.05: nil, 0.2: hedge.NewBudget(0.2), 0: hedge.NewBudget(0), 1: every()} {
		synctest.Test(t, func(t *testing.T) {
			m := measure(hedge.Options{Delay: 10 * ms, Budget: budget})
			for i := range 1000 {
				m.call(t, 50*ms) // every one of them is slow
				require.LessOrEqual(t, float64(m.hedges), share*float64(i+1))
			}
			require.EqualValues(t, share*1000, m.hedges, "and it is used")
		})
	}
}

func TestASharedBudgetIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := hedge.NewBudget(0.1)
		a, b := measure(hedge.Options{Delay: 10 * ms, Budget: budget}), measure(hedge.Options{Delay: 10 * ms, Budget: budget})
		for range 100 {
			a.call(t, 1*ms)
		}
		for range 15 {
			b.call(t, time.Second)
		}
		require.Zero(t, a.hedges)
		require.Equal(t, 11, b.hedges, "ten saved up at a, and one of its own")
	})
}

func TestServicesHaveABudgetEachUnlessItIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := hedge.Layer[wish, int](hedge.Options{Delay: 10 * ms})
		a, b := &obedient{}, &obedient{}
		calm, slow := &measured{obedient: a, Service: layer(a)}, &measured{obedient: b, Service: layer(b)}
		for range 100 {
			calm.call(t, 1*ms)
		}
		for range 15 {
			slow.call(t, time.Second)
		}
		require.Zero(t, b.hedges)
	})
}

func TestCalmSavesUpTenHedges(t *testing.T) {
	budget := hedge.NewBudget(0.5)
	for range 10_000 {
		budget.Deposit()
	}
	n := 0
	for budget.Withdraw() {
		n++
	}
	require.Equal(t, 10, n)
}

func TestBudgetNeverOverdrawsUnder64Goroutines(t *testing.T) {
	const each = 60_000 // and a common start: else one ends before the next begins
	budget := hedge.NewBudget(0.1)
	start := make(chan struct{})
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			<-start
			for range each {
				budget.Deposit()
				for range 3 {
					if budget.Withdraw() {
						taken.Add(1)
					}
				}
			}
		})
	}
	close(start)
	wg.Wait()
	require.EqualValues(t, 64*each/10, taken.Load())
}

func TestNewBudgetRefusesNonsense(t *testing.T) {
	require.NotPanics(t, func() { hedge.NewBudget(10) })
	for _, bad := range []float64{-0.1, 10.1, math.NaN(), math.Inf(1)} {
		require.Panics(t, func() { hedge.NewBudget(bad) })
	}
	require.PanicsWithError(t, "hedge: budget's share is 50; it must be from 0 to 10 hedges a call, as in 0.05", func() { hedge.NewBudget(50) })
}
