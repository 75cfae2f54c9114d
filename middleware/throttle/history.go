package throttle

import (
	"sync"
	"sync/atomic"
	"time"
)

// slots is in how many steps the window moves.
const slots = 30

// History is what became of the calls of the last while: how many were requested,
// and how many of them the service accepted.
//
// It is safe for concurrent use, and is to be shared where a quota is. Make one
// with [NewHistory].
type History struct {
	window time.Duration
	start  time.Time

	// The counts of each slot of time, and their sums. A call is counted in both
	// or, as it falls out of the window, in neither, with no lock: one that is
	// late, and counts in a slot that was just emptied, is remembered longer.
	sum  counts
	slot [slots]counts
	now  atomic.Int64 // the slot that time is in, counted from start
	move sync.Mutex   // for who moves now, once a slot
}

type counts struct{ accepted, refused atomic.Int64 }

// NewHistory returns an empty History of the last window. It panics if the
// window is not above zero.
func NewHistory(window time.Duration) *History {
	if err := validate(window); err != nil {
		panic(err)
	}
	return &History{window: window, start: time.Now()}
}

// Counts returns how many calls were requested in the window, those included
// that a layer refused, and how many of them the service accepted. Calls under
// way are not counted yet.
func (h *History) Counts() (requests, accepts int64) {
	h.advance()
	accepts = h.sum.accepted.Load()
	return accepts + h.sum.refused.Load(), accepts
}

// glance reports whether a call may go through by what is known since the last
// one ended. It saves most calls a look at the clock.
func (h *History) glance(k float64) bool {
	accepts := h.sum.accepted.Load()
	return probability(accepts+h.sum.refused.Load(), accepts, k) <= 0
}

func (h *History) accepted() {
	slot := h.advance()
	h.sum.accepted.Add(1)
	slot.accepted.Add(1)
}

func (h *History) refused() {
	slot := h.advance()
	h.sum.refused.Add(1)
	slot.refused.Add(1)
}

// advance moves the window to the present, and returns the present's slot.
func (h *History) advance() *counts {
	now := int64(time.Since(h.start) / (h.window / slots))
	if h.now.Load() < now {
		h.moveTo(now)
	}
	return &h.slot[now%slots]
}

func (h *History) moveTo(now int64) {
	h.move.Lock()
	defer h.move.Unlock()
	was := h.now.Load()
	for n := max(was, now-slots) + 1; n <= now; n++ {
		gone := &h.slot[n%slots]
		h.sum.accepted.Add(-gone.accepted.Swap(0))
		h.sum.refused.Add(-gone.refused.Swap(0))
	}
	h.now.Store(max(was, now))
}
