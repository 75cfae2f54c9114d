package concurrency

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// Limit is a number of places for calls under way, and the queue of calls that
// wait for one. Services that are given the same Limit are bounded together.
//
// A call that holds a place must not make another that needs one of the same
// Limit: when all hold one and wait for the next, none ever ends.
//
// A Limit is safe for concurrent use, and is made by [New]. It has no goroutine.
type Limit struct {
	max int64

	// state is how many places are taken, with crowded added while calls wait.
	// Not crowded, it changes without the lock. Crowded, all places are taken
	// and stay so, as each goes from hand to hand, and the lock guards it.
	state atomic.Int64

	mu    sync.Mutex
	queue list.List // of *waiter; empty unless crowded
}

// crowded is more than any number of calls.
const crowded = 1 << 62

// New returns a Limit of max places. It panics if max is less than 1.
func New(max int) *Limit {
	if err := validate(max); err != nil {
		panic(err)
	}
	return &Limit{max: int64(max)}
}

// Max returns how many places there are.
func (l *Limit) Max() int { return int(l.max) }

// InUse returns how many places are taken.
func (l *Limit) InUse() int { return int(l.state.Load() &^ crowded) }

// Waiting returns how many calls wait for a place.
func (l *Limit) Waiting() int {
	if l.state.Load() < crowded {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.Len()
}

// check returns the refusal that a call would get now, if it would get one.
func (l *Limit) check(maxQueue int) error {
	if l.state.Load() < l.max {
		return nil
	}
	if waiting := l.Waiting(); waiting >= maxQueue {
		return &Error{Max: l.Max(), Waiting: waiting}
	}
	return nil
}

// take takes a place that is free, and that nobody waits for.
func (l *Limit) take() bool {
	for {
		taken := l.state.Load()
		if taken >= l.max { // as it also is when crowded
			return false
		}
		if l.state.CompareAndSwap(taken, taken+1) {
			return true
		}
	}
}

// release gives a place back, to the head of the queue if there is one.
func (l *Limit) release() {
	for {
		taken := l.state.Load()
		if taken >= crowded {
			if l.handOver() {
				return
			}
			continue // the queue has gone in between
		}
		if l.state.CompareAndSwap(taken, taken-1) {
			return
		}
	}
}
