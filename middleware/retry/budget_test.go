package retry_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/retry"
)

// drain withdraws until the budget is empty, and counts.
func drain(b *retry.Budget) (n int) {
	for b.Withdraw() {
		n++
	}
	return n
}

func TestBudgetEmptyAndNoMinimumMeansNoRetry(t *testing.T) {
	budget := retry.NewBudget(0.5, 0)
	require.False(t, budget.Withdraw())

	s := answers(errOne)
	_, err := wrap(s, retry.Options{Budget: budget}).Call(t.Context(), 1)
	require.Equal(t, 1, s.calls)
	require.ErrorIs(t, err, retry.ErrBudget)
	require.ErrorIs(t, err, errOne)
	require.EqualError(t, err, "retry: retry budget is empty, after 1 attempt: one")
}

func TestBudgetDepositsExpireWithTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(1, 0)
		budget.Deposit()
		<-time.After(retry.BudgetWindow - time.Second)
		budget.Deposit()
		require.Equal(t, 2.0, budget.Left())
		<-time.After(time.Second)
		require.Equal(t, 1.0, budget.Left(), "the first deposit is gone")
		<-time.After(retry.BudgetWindow)
		require.False(t, budget.Withdraw())
		<-time.After(1000 * time.Hour)
		require.Zero(t, budget.Left())
	})
}

func TestBudgetRatioIsExact(t *testing.T) {
	for ratio, want := range map[float64]int{0.6: 600, 0.2: 200, 0.1: 100, 0.001: 1, 1: 1000, 2.5: 2500} {
		budget := retry.NewBudget(ratio, 0)
		for range 1000 {
			budget.Deposit()
		}
		require.Equal(t, want, drain(budget), "ratio %v", ratio)
	}
}

func TestBudgetMinimumPerSecondHoldsWithoutDeposits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(0, 3)
		for range 60 {
			for range 3 {
				require.True(t, budget.Withdraw())
			}
			<-time.After(time.Second)
		}
		require.Equal(t, 3, drain(budget), "27 of 30 were taken within the window")
		<-time.After(retry.BudgetWindow)
		require.Equal(t, 30, drain(budget), "what calm saved up is one window's worth")
	})
}

// Many rounds, as only the last of a budget can be taken twice. In a bubble no
// time passes meanwhile, so that nothing expires, however slow the machine is.
func TestBudgetNeverOverdrawsUnder64Goroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 300 {
			budget := retry.NewBudget(0.5, 0)
			start := make(chan struct{})
			var taken atomic.Int64
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() {
					<-start
					for range 10 {
						budget.Deposit()
						taken.Add(int64(drain(budget)))
					}
				})
			}
			synctest.Wait()
			close(start)
			wg.Wait()
			require.EqualValues(t, 64*10/2, taken.Load())
		}
	})
}

func TestBudgetBoundsCallsWhenEverythingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls, seconds, ratio, minimum = 6000, 60, 0.2, 5
		var sent int
		boom := errors.New("boom")
		s := wrap(turret.ServiceFunc[int, int](func(context.Context, int) (int, error) { sent++; return 0, boom }),
			retry.Options{MaxAttempts: 10, Budget: retry.NewBudget(ratio, minimum), Backoff: retry.Backoff{Min: 1, Max: 1}})
		for range calls {
			_, err := s.Call(t.Context(), 1)
			require.ErrorIs(t, err, boom)
			<-time.After(seconds * time.Second / calls)
		}
		// A window's worth of the minimum may be saved up at the beginning.
		require.LessOrEqual(t, float64(sent), calls*(1+ratio)+minimum*(seconds+retry.BudgetWindow.Seconds()))
		require.GreaterOrEqual(t, float64(sent), calls*(1+ratio), "and it is used")
	})
}

func TestBudgetNilAllowsEveryRetry(t *testing.T) {
	var budget *retry.Budget
	budget.Deposit()
	require.True(t, budget.Withdraw())
	require.True(t, math.IsInf(budget.Left(), 1))
}

func TestNewBudgetRefusesNonsense(t *testing.T) {
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1), 1e9} {
		require.Panics(t, func() { retry.NewBudget(bad, 0) })
		require.Panics(t, func() { retry.NewBudget(0, bad) })
	}
}
