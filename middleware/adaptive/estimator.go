package adaptive

import (
	"fmt"
	"math"
	"time"
)

// Reason is why a limit changed.
type Reason uint8

// The reasons.
const (
	Headroom Reason = iota // the limit was reached, and latency is well
	Latency                // calls take longer than the tolerance allows
	Overload               // the service throttled, or calls timed out
	Probe                  // the unloaded latency is measured, or has been
)

var reasonNames = [...]string{"headroom", "latency", "overload", "probe"}

// String returns the reason's name in lower case.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

const (
	soon = 5  // windows before a probe, where the unloaded latency is a guess
	late = 50 // windows of high latency before a probe, where it was measured
)

// estimator is the arithmetic: the next limit, given what a window saw. It knows
// no clock and no calls, and is not safe for concurrent use.
type estimator struct {
	min, max  float64
	tolerance float64

	limit    float64       // but for probes
	unloaded time.Duration // what calls take without a queue; 0 while unknown
	guess    bool          // unloaded may have been measured with a queue

	proven   float64 // the limit when unloaded was last seen to hold
	patience int     // windows until the next probe
	probe    phase
	probed   float64 // the limit during a probe
}

// phase is where a probe is. Each takes a window.
type phase uint8

const (
	idle      phase = iota
	draining        // what was under way before the probe ends
	measuring       // only what began in the probe is under way
)

func newEstimator(o Options) estimator {
	return estimator{
		min:       float64(o.Min),
		max:       float64(o.Max),
		tolerance: o.Tolerance,
		limit:     float64(o.Initial),
		guess:     true,
		proven:    float64(o.Initial),
		patience:  soon,
	}
}

// next returns the limit for the next window, and why it is another, if it is.
func (e *estimator) next(w sight) (int, Reason) {
	before, phase := e.limit, e.probe
	if w.overloads > 0 {
		share := float64(w.overloads) / float64(w.overloads+w.answers)
		e.limit = e.bound(e.limit * (1 - share/2))
	}
	if w.answers > 0 {
		e.learn(w)
	}
	return e.current(), e.reason(before, phase, w)
}

func (e *estimator) learn(w sight) {
	switch {
	case e.probe == draining:
		e.probe = measuring
	case e.probe == measuring:
		e.endProbe(w.mean)
	case e.unloaded == 0:
		e.unloaded = w.mean
	case float64(w.peak) <= e.limit/2: // no queue can be of our making
		e.approach(w.mean)
		e.guess = false
		e.prove()
	default:
		e.follow(w)
	}
}

// follow moves the limit to where the latency says.
func (e *estimator) follow(w sight) {
	switch {
	case w.mean < e.unloaded/2: // no chance: the service became faster, or was measured with a queue
		e.unloaded, e.guess, e.patience = w.mean, true, soon
	case w.mean < e.unloaded:
		e.approach(w.mean)
	}
	gradient := min(1, e.tolerance*float64(e.unloaded)/float64(w.mean))
	target := e.limit*gradient + max(1, math.Sqrt(e.limit)/2)
	switch {
	case target < e.limit: // half of the way: part of what was measured began under an older limit
		e.limit = e.bound((e.limit + target) / 2)
	case w.overloads == 0 && float64(w.peak) >= 0.9*float64(e.current()):
		e.limit = e.bound(target)
	}
	if gradient == 1 && !e.guess {
		e.prove()
		return
	}
	e.patience--
	if e.patience <= 0 || e.limit <= e.proven/2 {
		e.beginProbe(w.mean)
	}
}

// approach moves the unloaded latency a little, so that no single window makes it.
func (e *estimator) approach(mean time.Duration) { e.unloaded += (mean - e.unloaded) / 8 }

// prove puts off the next probe, as calls take what they should.
func (e *estimator) prove() {
	e.proven = e.limit
	e.patience = late
	if e.guess {
		e.patience = soon
	}
}

// beginProbe lets in half of the calls that the service can work on, if it is
// right about the unloaded latency. Any queue is gone then.
func (e *estimator) beginProbe(mean time.Duration) {
	e.probe = draining
	e.probed = e.bound(e.limit * float64(e.unloaded) / float64(mean) / 2)
}

func (e *estimator) endProbe(mean time.Duration) {
	e.probe = idle
	e.guess = mean < e.unloaded*3/4 // what was so wrong may be so still
	e.unloaded = mean
	e.prove()
}

// current is the limit in force.
func (e *estimator) current() int {
	if e.probe != idle {
		return int(min(e.probed, e.limit))
	}
	return int(e.limit)
}

func (e *estimator) bound(limit float64) float64 { return min(max(limit, e.min), e.max) }

// outlier is what a longer answer counts for. One call that took a minute is not
// to look like a hundred that took twice their time.
func (e *estimator) outlier() time.Duration {
	if e.unloaded == 0 {
		return longest
	}
	return min(10*e.unloaded, longest)
}

func (e *estimator) reason(before float64, phase phase, w sight) Reason {
	switch {
	case e.probe != phase:
		return Probe
	case w.overloads > 0:
		return Overload
	case e.limit < before:
		return Latency
	}
	return Headroom
}
