package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// latency is a moving average of how long a member's calls take, sensitive to
// peaks. It is kept in one word, so that it needs no lock: the average as a
// float32 of nanoseconds above, and below it the tick at which it was made.
type latency struct{ word atomic.Uint64 }

// ticksPerDecay is fine enough to see time pass from call to call, and coarse
// enough for a float32 to keep what passes in one tick. The ticks go around
// after a million decays. Who is idle for half of that is for once believed what
// it showed then.
const ticksPerDecay = 4096

// estimate is a latency at a certain time.
type estimate struct {
	average float64 // in nanoseconds, when it was made; 0 if there is none
	weight  float64 // what is left of it by now, from 1 to 0
}

func read(word uint64, tick uint32) estimate {
	e := estimate{float64(math.Float32frombits(uint32(word >> 32))), 1}
	// Negative if another call, later than this one, was faster to get here.
	if passed := int32(tick - uint32(word)); passed > 0 {
		e.weight = math.Exp(-float64(passed) / ticksPerDecay)
	}
	return e
}

func word(average float64, tick uint32) uint64 {
	return uint64(math.Float32bits(float32(average)))<<32 | uint64(tick)
}

func (l *latency) at(tick uint32) estimate { return read(l.word.Load(), tick) }

// set forgets what was.
func (l *latency) set(took time.Duration, tick uint32) {
	l.word.Store(word(nanoseconds(took), tick))
}

// observe averages in a call that took so long, as average says.
func (l *latency) observe(took time.Duration, tick uint32, average func(estimate, float64) (float64, bool)) {
	for {
		old := l.word.Load()
		next, learned := average(read(old, tick), nanoseconds(took))
		if !learned {
			return
		}
		changed := word(next, tick)
		if changed == old || l.word.CompareAndSwap(old, changed) {
			return
		}
	}
}

// nanoseconds is d, and not 0, which says that nothing is known.
func nanoseconds(d time.Duration) float64 { return max(float64(d), 1) }

// answered averages in a call with an answer: a rise counts at once, a fall the
// more the longer ago the average was made.
func answered(e estimate, took float64) (float64, bool) {
	return max(took, e.average*e.weight+took*(1-e.weight)), true
}

// unanswered averages in a call that says only that an answer takes longer.
func unanswered(e estimate, took float64) (float64, bool) {
	return took, took > e.average*e.weight
}

// refused averages in a call that was answered with a refusal, which may be fast
// for being wrong: what was known holds on, and no longer fades.
func refused(e estimate, took float64) (float64, bool) {
	return max(took, e.average), true
}

const (
	penalty        = 10                 // a failure is as bad as an answer that takes so many times longer
	worstPenalized = float64(time.Hour) // where penalties on penalties end
)

// failed averages in a failure. It says nothing of who is not known yet.
func failed(e estimate, took float64) (float64, bool) {
	penalized := e.average*e.weight + penalty*e.average*(1-e.weight)
	return max(took, e.average, min(penalized, worstPenalized)), e.isKnown()
}

func (e estimate) isKnown() bool { return e.average > 0 }

// unknownCost is more than any latency's.
const unknownCost = 1e18

// cost is that of the next call beside those under way. A member that is new is
// tried at once, but with a single call until something is known.
func (e estimate) cost(calls float64) float64 {
	switch {
	case e.isKnown():
		return max(e.average*e.weight, 1) * (calls + 1)
	case calls > 0:
		return unknownCost * calls
	}
	return 0
}
