package hedge

import (
	"math"
	"slices"
	"sync/atomic"
	"time"
)

const (
	windowSize = 1000                   // successes that a percentile is of
	windowStep = 100 * time.Millisecond // a percentile's age, at most, where there are calls
)

// window knows a percentile of the latencies of the last windowSize successes.
// It takes no locks: every call writes into a ring, and once in a windowStep one
// of them sorts a copy of it.
type window struct {
	percentile float64
	enough     uint64 // successes before the percentile is known
	made       time.Time

	added  atomic.Uint64
	ring   [windowSize]atomic.Int64 // 0 where nothing was written yet
	due    atomic.Int64             // when to sort again, counted from made
	result atomic.Int64             // 0 while not known
}

func newWindow(percentile float64) *window {
	return &window{
		percentile: percentile,
		enough:     max(20, uint64(math.Round(1/(1-percentile)))),
		made:       time.Now(),
	}
}

// read returns the percentile, if it is known.
func (w *window) read() (d time.Duration, known bool) {
	d = time.Duration(w.result.Load())
	return d, d > 0
}

// add records a success.
func (w *window) add(d time.Duration) {
	n := w.added.Add(1)
	w.ring[n%windowSize].Store(int64(max(d, 1)))
	if n < w.enough {
		return
	}
	now, due := int64(time.Since(w.made)), w.due.Load()
	if now >= due && w.due.CompareAndSwap(due, now+int64(windowStep)) {
		w.sort()
	}
}

func (w *window) sort() {
	var sorted [windowSize]int64
	n := 0
	for i := range w.ring {
		if d := w.ring[i].Load(); d > 0 {
			sorted[n] = d
			n++
		}
	}
	slices.Sort(sorted[:n])
	w.result.Store(sorted[int(math.Ceil(w.percentile*float64(n)))-1]) // the nearest rank
}
