package adaptive

import (
	"container/list"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Limit is a limit on calls under way that follows their latency. It is safe for
// concurrent use, has no goroutine, and is made by [New].
//
// A call takes no lock, unless it has to wait or ends while others do, or is the
// one in many that ends a window.
type Limit struct {
	o     Options
	epoch time.Time // what now counts from

	limit    atomic.Int64
	inFlight atomic.Int64
	waiting  atomic.Int64 // the queue's length

	mu    sync.Mutex // guards queue, and is held to change waiting
	queue list.List  // of *waiter

	window    window
	windowEnd atomic.Int64 // the earliest, as now has it
	latency   atomic.Int64 // mean of the last window, in ns; 0 while unknown
	unloaded  atomic.Int64 // the estimator's, likewise

	closing   atomic.Bool // held by the call that ends a window; guards estimator
	estimator estimator
}

// New returns a limit of o.Initial. It panics with o.Validate's error if there
// is one.
func New(o Options) *Limit {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	o = o.withDefaults()
	l := &Limit{o: o, epoch: time.Now(), estimator: newEstimator(o)}
	l.limit.Store(int64(o.Initial))
	l.windowEnd.Store(int64(o.Window))
	l.window.reset(0, longest)
	return l
}

// Limit returns how many calls may be under way now.
func (l *Limit) Limit() int { return int(l.limit.Load()) }

// InFlight returns how many calls are under way. They may be more than Limit
// for a while after that has fallen.
func (l *Limit) InFlight() int { return int(l.inFlight.Load()) }

// Waiting returns how many calls wait for their turn.
func (l *Limit) Waiting() int { return int(l.waiting.Load()) }

// String is the limit's line in [turret.Describe].
func (l *Limit) String() string { return l.o.String() }

func (l *Limit) now() time.Duration { return time.Since(l.epoch) }

// take takes a permit, if there is one.
func (l *Limit) take() bool {
	for {
		n := l.inFlight.Load()
		if n >= l.limit.Load() {
			return false
		}
		if l.inFlight.CompareAndSwap(n, n+1) {
			l.window.busy(n + 1)
			return true
		}
	}
}

// release gives a permit back.
func (l *Limit) release() {
	l.inFlight.Add(-1)
	// Whoever queues counts itself before it looks for a permit once more. So
	// either it is seen here, or it sees this one.
	if l.waiting.Load() > 0 {
		l.admit()
	}
}

// end ends a call that began at the given time.
func (l *Limit) end(began time.Duration, says verdict) {
	now := l.now()
	l.release()
	switch says {
	case nothing:
		return
	case answer:
		l.window.answer(now - began)
	case overload:
		l.window.overload()
	}
	if l.due(now) {
		l.endWindow(now)
	}
}

func (l *Limit) due(now time.Duration) bool {
	if int64(now) < l.windowEnd.Load() {
		return l.window.full()
	}
	return l.window.tellsEnough()
}

// endWindow adjusts the limit to what the window saw. It leaves that to another
// call where one is about it.
func (l *Limit) endWindow(now time.Duration) {
	if !l.closing.CompareAndSwap(false, true) {
		return
	}
	defer l.closing.Store(false)
	if !l.due(now) { // another call was quicker
		return
	}
	c := Change{From: l.Limit()}
	c.To, c.Reason, c.Latency = l.adjust(now)
	c.Unloaded = l.estimator.unloaded
	if c.To == c.From {
		return
	}
	if c.To > c.From && l.waiting.Load() > 0 {
		l.admit()
	}
	if l.o.OnChange != nil {
		l.o.OnChange(c)
	}
}

func (l *Limit) adjust(now time.Duration) (limit int, why Reason, latency time.Duration) {
	seen := l.window.read()
	limit, why = l.estimator.next(seen)
	l.limit.Store(int64(limit))
	l.unloaded.Store(int64(l.estimator.unloaded))
	l.window.reset(l.inFlight.Load(), l.estimator.outlier())
	l.windowEnd.Store(int64(now + min(l.o.Window, math.MaxInt64-now)))
	if seen.answers > 0 {
		l.latency.Store(int64(seen.mean))
	}
	return limit, why, seen.mean
}
