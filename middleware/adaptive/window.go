package adaptive

import (
	"sync/atomic"
	"time"
)

const (
	enough  = 10          // answers that make a mean
	longest = time.Minute // that an answer counts for
)

// A window's answers are one number: how many there were, above so many bits of
// how many microseconds they took together. One addition adds an answer, and one
// exchange takes them all and begins the next window, and nothing falls between.
const sumBits = 44 // 203 days; that leaves 20 for the count

// window gathers what happens between two changes of the limit.
type window struct {
	answers   atomic.Uint64
	overloads atomic.Int64
	peak      atomic.Int64 // the most calls under way at once
	clip      atomic.Int64 // in µs: what takes longer counts for this
}

// sight is what a window has seen.
type sight struct {
	answers   int
	mean      time.Duration // of the answers
	overloads int
	peak      int
}

func (w *window) answer(took time.Duration) {
	us := min(max(took.Microseconds(), 1), w.clip.Load())
	w.answers.Add(1<<sumBits | uint64(us))
}

func (w *window) overload() { w.overloads.Add(1) }

// busy notes that n calls are under way.
func (w *window) busy(n int64) {
	for peak := w.peak.Load(); n > peak; peak = w.peak.Load() {
		if w.peak.CompareAndSwap(peak, n) {
			return
		}
	}
}

// tellsEnough reports whether the window saw about each call that was under way
// at once: fewer would be those of the fast ones alone.
func (w *window) tellsEnough() bool {
	n := int64(w.answers.Load()>>sumBits) + w.overloads.Load()
	return n >= max(enough, w.peak.Load())
}

// full reports whether the count, or the sum, is about to have no room.
func (w *window) full() bool {
	a := w.answers.Load()
	return a>>sumBits >= 1<<19 || a&(1<<sumBits-1) >= 1<<(sumBits-1)
}

// read takes what the window saw.
func (w *window) read() sight {
	a := w.answers.Swap(0)
	s := sight{
		answers:   int(a >> sumBits),
		overloads: int(w.overloads.Swap(0)),
		peak:      int(w.peak.Load()),
	}
	if s.answers > 0 {
		s.mean = time.Duration(a&(1<<sumBits-1)) * time.Microsecond / time.Duration(s.answers)
	}
	return s
}

// reset begins the next window, with so many calls under way.
func (w *window) reset(inFlight int64, clip time.Duration) {
	w.peak.Store(inFlight)
	w.clip.Store(clip.Microseconds())
}
