// Package balance spreads calls over the members of a service: to the better of
// two that are drawn at random.
//
// Two draws are enough. If n calls go to n members drawn at random, the busiest
// one has about log n / log log n of them; if each goes to the less busy of two,
// about log log n (Michael Mitzenmacher, "The Power of Two Choices in Randomized
// Load Balancing"). To look at all members would be slower, and worse where many
// callers do: they would all run to one and the same.
//
// The better one is that with the lower load. [PeakEWMA], as in Finagle and
// Tower, is what the next call may cost: how long calls take, times how many
// there are to share the member. The time is a moving average that follows a
// rise at once and a fall slowly. [Pending] is the number of calls alone.
//
// # Members that fail
//
// Who fails, fails fast, and must not look fast. A failure never lowers a
// member's latency; it counts as ten times the usual one. After Options.Failures
// of them in a row, or one if the member is new, it goes on probation and gets no
// calls, except one as a probe when that time is over: a call, or beside one a
// copy of it, with Options.Beside. A probe that succeeds ends the probation; one
// that fails begins another, twice as long. When the last member would go on
// probation nobody is better than anybody else, and all come back. For that, one
// that is not ready counts as little as one on probation, unless it says
// ([turret.RetryAfter]) that it soon will be.
//
// An error counts by its [turret.Outcome]:
//
//	failure   Unknown, Transient, Throttled, Rejected
//	success   Permanent: the member is well, the request was wrong
//	neither   Canceled: nothing is known but that it took so long
//
// That last is something, though: a member whose calls are always outrun by a
// hedge's ([turret.ErrOutrun]), and cancelled, is as slow as they were until then,
// and slower. A hedge itself goes to another member than its original.
//
// A member that is not ready ([turret.Ready]), such as one with an open breaker
// in its stack, is passed over while it is not. What it refuses meanwhile is no
// failure.
//
// # Where in the stack
//
// A call goes to one member and is not repeated, so a retry belongs above, and
// what keeps a member in bounds below, in each member's own stack:
//
//	retry → hedge → balance → (rate limit → breaker → timeout → member) × n
//
// That timeout is what tells a hung member from a slow one.
package balance

import (
	"fmt"
	"slices"
	"time"
)

// Load is how the members' load is measured.
type Load uint8

// The loads. Their zero value is PeakEWMA.
const (
	// PeakEWMA is the latency times the calls under way, the next one included.
	PeakEWMA Load = iota
	// Pending is the calls under way. It suits calls that differ a lot in how
	// long they take, whoever answers them.
	Pending
)

// Options configure a balancer. The zero Options are ready to use.
type Options struct {
	// Names are the names of New's replicas, in their order. One without a name
	// is called "replica 1", and so on. Names are unique.
	Names []string

	// Load is what calls are balanced by. The zero value is PeakEWMA.
	Load Load

	// Decay is how long a latency is remembered: after this time without news,
	// a third of it is left. 0 means 10 s.
	Decay time.Duration

	// Failures is after how many failures in a row a member goes on probation. A
	// new one goes after the first. 0 means 5.
	Failures int

	// Probation is how long a member gets no calls before it is probed. It
	// doubles with each probe that fails, up to MaxProbation, and where a member
	// that came back has to go again before it has held out for as long. The
	// time is drawn between half of this and all of it, so that a fleet's probes
	// do not come together. An error that says RetryAfter prolongs it, up to
	// MaxProbation. 0 means 1 s, and of MaxProbation 1 min.
	Probation, MaxProbation time.Duration

	// Beside probes beside the calls: the request of one is sent to the member as
	// well, in a goroutine that ends with Close, and what it answers is dropped,
	// while the call itself goes to a member that is well. It is for requests that
	// may be made twice, and that nobody changes after the call. Otherwise the call
	// is the probe, and waits for as long as that takes. A timeout belongs below; a
	// probe beside the calls is given up after 30 s.
	Beside bool

	// Wait makes calls wait for a member while there is none, as long as their
	// contexts allow. Otherwise they fail with ErrNoMembers.
	Wait bool

	// OnChange, if set, is told of members that go on probation and come back,
	// by the call or the probe that brought it about, outside of all locks. With
	// Beside it must not close the balancer: Close waits for probes.
	OnChange func(Event)

	// OnRemoved, if set, is called when the last call of a removed member has
	// ended: by that call or, if there is none, by Remove. It is where a member
	// can be closed, which a balancer does not do by itself:
	//
	//	OnRemoved: func(_ string, member any) { _ = turret.Close(member) }
	OnRemoved func(name string, member any)
}

// Event is a member's going on probation or coming back.
type Event struct {
	Name string
	Out  time.Duration // how long it is to get no calls; 0 if it is back
	Err  error         // the failure that was one too many; nil if it is back
}

// Validate says what is wrong with o, if anything is.
func (o Options) Validate() error {
	for i, name := range o.Names {
		if name != "" && slices.Contains(o.Names[:i], name) {
			return fmt.Errorf("balance: two of the Names are %q; they must differ", name)
		}
	}
	switch {
	case o.Load > Pending:
		return fmt.Errorf("balance: Load is %d; it must be PeakEWMA or Pending", o.Load)
	case o.Decay < 0:
		return fmt.Errorf("balance: Decay is %v; it must be above zero, or 0 for the default of 10s", o.Decay)
	case o.Failures < 0:
		return fmt.Errorf("balance: Failures is %d; it must be at least 1, or 0 for the default of 5", o.Failures)
	case o.Probation < 0:
		return fmt.Errorf("balance: Probation is %v; it must be above zero, or 0 for the default of 1s", o.Probation)
	case o.MaxProbation < 0:
		return fmt.Errorf("balance: MaxProbation is %v; it must be above zero, or 0 for the default of 1m", o.MaxProbation)
	case o.MaxProbation != 0 && o.MaxProbation < o.withDefaults().Probation:
		return fmt.Errorf("balance: MaxProbation is %v, less than the Probation of %v; it is what that grows up to", o.MaxProbation, o.withDefaults().Probation)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Decay == 0 {
		o.Decay = 10 * time.Second
	}
	if o.Failures == 0 {
		o.Failures = 5
	}
	if o.Probation == 0 {
		o.Probation = time.Second
	}
	if o.MaxProbation == 0 {
		o.MaxProbation = max(time.Minute, o.Probation)
	}
	return o
}
