package stats

import (
	"time"

	"github.com/turretgo/turret"
)

// Snapshot is an account at one moment.
type Snapshot struct {
	InFlight int64     // calls under way
	Since    time.Time // when the account began
	Total    Counts    // since then
	Minute   Window    // about the last minute
	Slots    []Window  // the same, in stretches of five seconds, the oldest first
	Errors   []Error   // the last ten, the latest first
}

// Counts are calls by how they ended: well, or by the class of their error, as
// [turret.Outcome] has it. Transient are also those that a timeout layer ended,
// wherever it stands: the service did not answer in time.
type Counts struct {
	OK        uint64
	Unknown   uint64
	Transient uint64
	Throttled uint64
	Permanent uint64
	Canceled  uint64
	Rejected  uint64
}

// Calls returns how many calls ended.
func (c Counts) Calls() uint64 { return c.OK + c.Failed() }

// Failed returns how many of them ended with an error.
func (c Counts) Failed() uint64 {
	return c.Unknown + c.Transient + c.Throttled + c.Permanent + c.Canceled + c.Rejected
}

// Window is what happened in a stretch of time. Its latencies are those of the
// calls that ended in it, well or not, but for those that were refused: a refusal
// takes no time, and many would hide how long an answer takes.
type Window struct {
	Start  time.Time
	Length time.Duration
	Counts
	P50, P95, P99, Max time.Duration
}

// Error is a call's error.
type Error struct {
	At    time.Time
	Class turret.Class
	Err   error
}

// Snapshot returns the account as it is now.
func (r *Recorder) Snapshot() Snapshot {
	now := time.Now()
	r.mu.Lock()
	total, ring, errors, failed := r.total, r.ring, r.errors, r.failed
	r.mu.Unlock() // calls need not wait for the arithmetic

	s := Snapshot{InFlight: r.inFlight.Load(), Since: r.made, Total: counts(total)}
	var minute slot
	last := r.turn(now)
	for turn := max(0, last-slots+1); turn <= last; turn++ {
		from := &ring[turn%slots]
		if from.turn != turn { // nothing happened in it
			from = &slot{}
		}
		start := r.made.Add(time.Duration(turn) * slotLength)
		s.Slots = append(s.Slots, from.window(start, min(slotLength, now.Sub(start))))
		minute.merge(from)
	}
	s.Minute = minute.window(s.Slots[0].Start, now.Sub(s.Slots[0].Start))
	for i := failed - 1; i >= max(0, failed-kept); i-- {
		e := errors[i%kept]
		s.Errors = append(s.Errors, Error{e.at, e.class, e.err})
	}
	return s
}

func (s *slot) merge(other *slot) {
	for i, n := range other.results {
		s.results[i] += n
	}
	s.latency.merge(&other.latency)
}

func (s *slot) window(start time.Time, length time.Duration) Window {
	return Window{
		Start: start, Length: length,
		Counts: counts(s.results),
		P50:    s.latency.percentile(0.50),
		P95:    s.latency.percentile(0.95),
		P99:    s.latency.percentile(0.99),
		Max:    s.latency.max,
	}
}

func counts(by [results]uint64) Counts {
	of := func(c turret.Class) uint64 { return by[c+1] }
	return Counts{
		OK:        by[ok],
		Unknown:   of(turret.Unknown),
		Transient: of(turret.Transient),
		Throttled: of(turret.Throttled),
		Permanent: of(turret.Permanent),
		Canceled:  of(turret.Canceled),
		Rejected:  of(turret.Rejected),
	}
}
