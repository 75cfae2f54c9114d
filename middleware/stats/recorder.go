package stats

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
)

const (
	slotLength = 5 * time.Second
	slots      = 12 // a minute of them
	kept       = 10 // errors
)

// result is how a call ended: ok, or one more than its error's class.
type result uint8

const (
	ok      result = 0
	results        = int(turret.Rejected) + 2
)

// Recorder keeps account of calls. It is safe for concurrent use, and made by
// [NewRecorder].
type Recorder struct {
	made     time.Time
	inFlight atomic.Int64

	mu     sync.Mutex
	total  [results]uint64
	ring   [slots]slot
	errors [kept]failure
	failed int // errors so far; the next one goes to this place, modulo kept
}

// slot is what happened in one stretch of slotLength.
type slot struct {
	turn    int // since the Recorder was made
	results [results]uint64
	latency histogram
}

type failure struct {
	at    time.Time
	class turret.Class
	err   error
}

// NewRecorder returns a Recorder that has seen nothing.
func NewRecorder() *Recorder {
	r := &Recorder{made: time.Now()}
	for i := range r.ring {
		r.ring[i].turn = -1
	}
	return r
}

// turn returns which slot now belongs to, counted from when r was made.
func (r *Recorder) turn(now time.Time) int { return int(now.Sub(r.made) / slotLength) }

func (r *Recorder) record(now time.Time, took time.Duration, how result, err error) {
	turn := r.turn(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total[how]++
	if s := r.slot(turn); s != nil {
		s.results[how]++
		if how != result(turret.Rejected)+1 {
			s.latency.add(took)
		}
	}
	if err != nil {
		r.errors[r.failed%kept] = failure{now, turret.Class(how - 1), err}
		r.failed++
	}
}

// slot returns the slot of a turn, emptied of what was in it a minute ago. It is
// nil if the slot has gone on to a later turn, for a call that was held up
// between the clock and the lock for that long.
func (r *Recorder) slot(turn int) *slot {
	s := &r.ring[turn%slots]
	if s.turn > turn {
		return nil
	}
	if s.turn < turn {
		*s = slot{turn: turn}
	}
	return s
}
