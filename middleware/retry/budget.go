package retry

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// BudgetWindow is how long a deposit, or a withdrawal, counts in a [Budget].
const BudgetWindow = 10 * time.Second

// Budget bounds how much retries add to the load on a service. Each call
// deposits a fraction of a retry and each retry withdraws a whole one; when a
// service fails every call, it sees 1 + ratio times the calls made of it, rather
// than MaxAttempts times. The idea is that of Finagle's RetryBudget.
//
// A Budget is safe for concurrent use, and is meant to be shared by all stacks
// that call the same service. Make one with [NewBudget]; a nil Budget allows
// every retry.
type Budget struct {
	ratio, perSecond float64 // as given
	deposit          int64   // what a call is worth, in units of 1/retryUnits of a retry
	reserve          int64   // the minimum, for a whole window
	start            time.Time

	mu      sync.Mutex
	slots   [budgetSlots]int64 // deposits less withdrawals of each slot of time
	current int64              // the slot that time is in, counted from start
	balance int64              // the sum of slots
}

const (
	retryUnits  = 1_000_000 // fixed point: 0.6 of a retry is 0.6, however many there are
	budgetSlots = 20
	slotLength  = BudgetWindow / budgetSlots
)

// NewBudget returns a Budget that allows ratio retries for each call made in the
// last BudgetWindow, and minPerSecond retries a second besides, so that a quiet
// service can be retried too: up to minPerSecond·BudgetWindow at once, after
// calm. A ratio of 0.2 and a minimum of 10 are common.
//
// It panics unless ratio is from 0 to 1,000 and minPerSecond from 0 to 1,000,000.
func NewBudget(ratio, minPerSecond float64) *Budget {
	if !(ratio >= 0 && ratio <= 1e3) {
		panic(fmt.Errorf("retry: budget's ratio is %v; it must be from 0 to 1000 retries a call", ratio))
	}
	if !(minPerSecond >= 0 && minPerSecond <= 1e6) {
		panic(fmt.Errorf("retry: budget's minimum is %v; it must be from 0 to 1000000 retries a second", minPerSecond))
	}
	return &Budget{
		ratio:     ratio,
		perSecond: minPerSecond,
		deposit:   int64(math.Round(ratio * retryUnits)),
		reserve:   int64(math.Round(minPerSecond * BudgetWindow.Seconds() * retryUnits)),
		start:     time.Now(),
	}
}

// Deposit records a call.
func (b *Budget) Deposit() {
	if b == nil || b.deposit == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(b.deposit)
}

// Withdraw takes one retry out, and reports whether there was one.
func (b *Budget) Withdraw() bool {
	_, ok := b.withdraw()
	return ok
}

// withdrawal is a retry that was taken out of a budget, or of none.
type withdrawal struct {
	budget *Budget
	slot   int64 // when
}

func (b *Budget) withdraw() (w withdrawal, ok bool) {
	if b == nil {
		return withdrawal{}, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(0)
	if b.balance+b.reserve < retryUnits {
		return withdrawal{}, false
	}
	b.add(-retryUnits)
	return withdrawal{b, b.current}, true
}

// giveBack undoes a withdrawal for a retry that was not made. One that has left the
// window counts no more anyway.
func (w withdrawal) giveBack() {
	b := w.budget
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(0)
	if b.current-w.slot < budgetSlots {
		b.slots[w.slot%budgetSlots] += retryUnits
		b.balance += retryUnits
	}
}

// Left returns how many retries the budget has now.
func (b *Budget) Left() float64 {
	if b == nil {
		return math.Inf(1)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(0)
	return float64(max(0, b.balance+b.reserve)) / retryUnits
}

// add puts units into the slot of now, after dropping those that left the window.
func (b *Budget) add(units int64) {
	now := int64(time.Since(b.start) / slotLength)
	for steps := 0; b.current < now && steps < budgetSlots; steps++ {
		b.current++
		gone := &b.slots[b.current%budgetSlots]
		b.balance -= *gone
		*gone = 0
	}
	b.current = max(b.current, now)
	b.slots[b.current%budgetSlots] += units
	b.balance += units
}

func (b *Budget) String() string {
	return fmt.Sprintf("budget %.4g%% + %.4g/s", 100*b.ratio, b.perSecond)
}
