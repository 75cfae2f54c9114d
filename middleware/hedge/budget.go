package hedge

import (
	"fmt"
	"sync/atomic"
)

// Budget bounds how many calls are hedged. Each call deposits a share of a hedge
// and each hedge withdraws a whole one, so hedges are never more than that share
// of the calls. What calm saves up is ten hedges at most.
//
// A Budget is safe for concurrent use, takes no locks, and may be shared by all
// stacks that call the same service. Make one with [NewBudget].
type Budget struct {
	share   float64 // as given
	deposit int64   // what a call is worth, in units of 1/budgetUnits of a hedge
	balance atomic.Int64
}

const (
	budgetUnits = 1_000_000 // fixed point: 0.05 of a hedge is 0.05, however many there are
	budgetMax   = maxHedges * budgetUnits
)

// NewBudget returns an empty Budget that allows share hedges for each call: 0.05
// for 5% of the calls, 1 for a hedge of every call, 0 for none. It panics unless
// share is from 0 to 10.
func NewBudget(share float64) *Budget {
	if !(share >= 0 && share <= maxHedges) {
		panic(fmt.Errorf("hedge: budget's share is %v; it must be from 0 to %d hedges a call, as in 0.05", share, maxHedges))
	}
	return &Budget{share: share, deposit: int64(share*budgetUnits + 0.5)}
}

// Deposit records a call.
func (b *Budget) Deposit() {
	b.change(func(had int64) (int64, bool) { return min(had+b.deposit, budgetMax), true })
}

// Withdraw takes one hedge out, and reports whether there was one.
func (b *Budget) Withdraw() bool {
	return b.change(func(had int64) (int64, bool) { return had - budgetUnits, had >= budgetUnits })
}

// change puts what to makes of the balance in its place, unless that says no. It
// asks again where the balance has become another one meanwhile.
func (b *Budget) change(to func(had int64) (has int64, ok bool)) (ok bool) {
	for {
		had := b.balance.Load()
		has, ok := to(had)
		if !ok || had == has || b.balance.CompareAndSwap(had, has) {
			return ok
		}
	}
}

func (b *Budget) String() string { return fmt.Sprintf("budget %.4g%%", 100*b.share) }
