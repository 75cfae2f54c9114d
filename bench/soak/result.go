package soak

import (
	"fmt"
	"time"

	"github.com/turretgo/turret/bench/table"
	"github.com/turretgo/turret/middleware/stats"
	"github.com/turretgo/turret/signer/kmstest"
)

// Calls are a stack's by what their callers got.
type Calls struct {
	Asked    uint64
	Entered  uint64 // of these, those that came into the stack
	Signed   uint64
	Wrong    uint64 // signatures that do not verify
	Failed   uint64
	Refused  uint64 // whose context had ended before
	Panicked uint64 // in the caller's hands
	Latest   time.Duration
	Odd      []string // errors and panics that nobody asked for, the first few
}

func (c *Calls) note(err error) {
	if len(c.Odd) < 3 {
		c.Odd = append(c.Odd, err.Error())
	}
}

// A Stack is what is known of one stack in the end.
type Stack struct {
	Name      string
	Calls     Calls
	Stats     stats.Counts // the signer's own
	InFlight  int64
	Panics    int64 // of the layer that has a bug
	Recovered int64 // by Recover
	Bare      bool  // there is no Recover
	Swallows  bool  // a panic of a hedge that lost, or of a failover's probe, has no caller
	Closed    bool  // after Close it refused to sign
	Keys      []Key
}

// A Key is what is known of the key in one Region.
type Key struct {
	Name     string
	Stats    stats.Counts // the stack's own
	InFlight int64
	Attempts Attempts       // as the soak's own layer above it has seen them
	Other    string         // the error of the first of the attempts that should not be
	Begun    int64          // requests that began to be written, of every kind
	Answered int64          // and those that got an answer, or its beginning
	KMS      kmstest.Counts // Sign requests
	Requests int            // requests of every kind
}

// answers pairs what attempts were answered with what the KMS says it answered.
func (k Key) answers() [][2]uint64 {
	return [][2]uint64{
		{k.Attempts.OK, uint64(k.KMS.OK)},
		{k.Attempts.Corrupt, uint64(k.KMS.Corrupt)},
		{k.Attempts.Throttled, uint64(k.KMS.Throttled)},
		{k.Attempts.Internal, uint64(k.KMS.Internal)},
		{k.Attempts.Unavailable, uint64(k.KMS.Unavailable)},
		{k.Attempts.Reset, uint64(k.KMS.Reset)},
	}
}

// Late is how many answers came when the attempt had been ended.
func (k Key) Late() (late uint64) {
	for _, a := range k.answers() {
		late += a[1] - a[0]
	}
	return late
}

// Unsent is how many attempts were ended before their request was on its way.
func (k Key) Unsent() uint64 { return k.Attempts.All() - uint64(k.KMS.Requests) }

// A Result is what a soak has found.
type Result struct {
	Options       Options
	Took          time.Duration
	Lost, Twice   int // calls that were answered never, and more than once
	Before, After Footprint
	Stacks        []Stack
}

// A Check is an invariant, and what breaks it, if anything does.
type Check struct {
	Invariant string
	Broken    []string
}

// Checks looks at every invariant.
func (r *Result) Checks() []Check {
	return []Check{
		r.each("every call was answered, once", func(report func(string, ...any)) {
			if r.Lost > 0 || r.Twice > 0 {
				report("%d calls were never answered, and %d more than once", r.Lost, r.Twice)
			}
			r.eachStack(func(s Stack) {
				c := s.Calls
				if c.Asked != c.Signed+c.Wrong+c.Failed+c.Refused+c.Panicked || s.InFlight != 0 {
					report("%s: %d asked, but %d signed, %d failed, %d refused, %d panicked, %d in flight", s.Name, c.Asked, c.Signed, c.Failed, c.Refused, c.Panicked, s.InFlight)
				}
			})
		}),
		r.stacks(fmt.Sprintf("within its patience and %v", slackTime), func(s Stack) string {
			return broken(s.Calls.Latest > slackTime, "a call returned %v too late", s.Calls.Latest)
		}),
		r.stacks("no signature is wrong", func(s Stack) string {
			return broken(s.Calls.Wrong > 0, "%d of %d", s.Calls.Wrong, s.Calls.Wrong+s.Calls.Signed)
		}),
		r.stacks("some were signed, and no error or panic is odd", func(s Stack) string {
			return broken(s.Calls.Signed == 0 || len(s.Calls.Odd) > 0, "%d signed; %q", s.Calls.Signed, s.Calls.Odd)
		}),
		r.stacks("each panic went to Recover or to its caller", Stack.panics),
		r.stacks("Signer.Stats is what the callers got", Stack.counted),
		r.keys("a key's Stats are what its attempts were answered", Key.counted),
		r.keys("the KMS counted the requests that went out", func(k Key) string {
			counted := int64(k.Requests)
			return broken(counted < k.Answered || counted > k.Begun, "%d went out and %d were answered, and the KMS counted %d", k.Begun, k.Answered, counted)
		}),
		r.keys("the KMS answered what the attempts were answered, and late ones", Key.agrees),
		r.stacks("after Close nothing is signed", func(s Stack) string { return broken(!s.Closed, "it signed, or failed otherwise") }),
		r.each("goroutines are as many as before", func(report func(string, ...any)) {
			if r.After.Goroutines > r.Before.Goroutines {
				report("%d, and %d before", r.After.Goroutines, r.Before.Goroutines)
			}
		}),
		r.each(fmt.Sprintf("the heap is what it was, and %d MiB at most", slackHeap>>20), func(report func(string, ...any)) {
			if r.After.Heap > r.Before.Heap+slackHeap {
				report("%d KiB, and %d KiB before", r.After.Heap>>10, r.Before.Heap>>10)
			}
		}),
	}
}

func broken(is bool, format string, args ...any) string {
	if !is {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func (r *Result) each(invariant string, look func(report func(string, ...any))) Check {
	c := Check{Invariant: invariant}
	look(func(format string, args ...any) { c.Broken = append(c.Broken, fmt.Sprintf(format, args...)) })
	return c
}

func (r *Result) eachStack(look func(Stack)) {
	for _, s := range r.Stacks {
		look(s)
	}
}

func (r *Result) stacks(invariant string, look func(Stack) string) Check {
	return r.each(invariant, func(report func(string, ...any)) {
		for _, s := range r.Stacks {
			if found := look(s); found != "" {
				report("%s: %s", s.Name, found)
			}
		}
	})
}

func (r *Result) keys(invariant string, look func(Key) string) Check {
	return r.each(invariant, func(report func(string, ...any)) {
		for _, s := range r.Stacks {
			for _, k := range s.Keys {
				if found := look(k); found != "" {
					report("%s, %s: %s", s.Name, k.Name, found)
				}
			}
		}
	})
}

func (s Stack) panics() string {
	reached := int64(s.Calls.Panicked)
	switch {
	case !s.Bare:
		return broken(s.Recovered != s.Panics || reached != 0, "%d panics, %d recovered, %d reached a caller", s.Panics, s.Recovered, reached)
	case s.Swallows:
		return broken(reached > s.Panics, "%d panics, and %d reached a caller", s.Panics, reached)
	}
	return broken(reached != s.Panics, "%d panics, and %d reached a caller", s.Panics, reached)
}

// counted compares the signer's account. Of the failed, the caller's class may be
// another by the time the caller looks, for its patience ends meanwhile; so they
// are compared together, and that nothing is Permanent.
func (s Stack) counted() string {
	c := s.Calls
	if s.Stats.OK != c.Signed+c.Wrong || s.Stats.Failed() != c.Failed+c.Panicked || s.Stats.Calls() != c.Entered || c.Entered != c.Asked-c.Refused {
		return fmt.Sprintf("%+v, and callers had %+v", s.Stats, c)
	}
	return broken(s.Stats.Permanent != 0, "%d are Permanent, and nothing was", s.Stats.Permanent)
}

// counted compares the key's account with what the soak's own layer has seen.
func (k Key) counted() string {
	a := k.Attempts
	want := stats.Counts{
		OK:        a.OK,
		Throttled: a.Throttled,
		Transient: a.Corrupt + a.Internal + a.Unavailable + a.Reset + a.TimedOut,
		Canceled:  a.Canceled,
	}
	return broken(k.Stats != want || a.Other != 0 || k.InFlight != 0, "%+v and %d in flight; the attempts were %+v, %q", k.Stats, k.InFlight, a, k.Other)
}

// agrees compares attempts with the KMS's own account, in which every attempt is,
// but for those that were ended before their request was on its way. An attempt
// that was answered is there by its answer. One that was ended is there as hung, as
// canceled, or by the answer that came too late; which of these it was, nobody but
// the KMS knows. So for each answer the KMS may have more than there were attempts,
// never fewer, and all that it has more are attempts that were ended.
func (k Key) agrees() string {
	for _, a := range k.answers() {
		if a[1] < a[0] {
			return fmt.Sprintf("an answer was had %d times and given %d times: %+v, %+v", a[0], a[1], k.Attempts, k.KMS)
		}
	}
	kms := k.KMS
	if kms.InFlight != 0 || kms.Refused != 0 || uint64(kms.Requests) > k.Attempts.All() {
		return fmt.Sprintf("%d attempts, and %v", k.Attempts.All(), kms)
	}
	ended := k.Unsent() + uint64(kms.Hung+kms.Canceled) + k.Late()
	return broken(ended != k.Attempts.Ended(), "%d attempts were ended, of which the KMS explains %d: %+v, %v", k.Attempts.Ended(), ended, k.Attempts, kms)
}

// Sound reports whether every invariant holds.
func (r *Result) Sound() bool {
	for _, c := range r.Checks() {
		if len(c.Broken) > 0 {
			return false
		}
	}
	return true
}

// Tables show what was counted, and the verdict.
func (r *Result) Tables() []table.Table {
	calls := table.Table{
		Title: fmt.Sprintf("%d signatures asked for in %s.", r.Options.Signatures, table.Duration(r.Took)),
		Head:  []string{"stack", "asked", "signed", "wrong", "failed", "too late before", "panics", "to callers", "returned after its patience, at most"},
	}
	keys := table.Table{
		Title: "Attempts, and Sign requests as the KMS counted them. Unsent were ended before their request was on its way, late when its answer was.",
		Head:  []string{"key", "attempts", "unsent", "requests", "OK", "corrupt", "throttled", "500", "503", "reset", "hung", "canceled", "late"},
	}
	for _, s := range r.Stacks {
		c := s.Calls
		calls.Add(s.Name, n(c.Asked), n(c.Signed), n(c.Wrong), n(c.Failed), n(c.Refused), n(s.Panics), n(c.Panicked), table.Duration(max(0, c.Latest)))
		for _, k := range s.Keys {
			m := k.KMS
			keys.Add(s.Name+", "+k.Name, n(k.Attempts.All()), n(k.Unsent()), n(m.Requests), n(m.OK), n(m.Corrupt), n(m.Throttled), n(m.Internal), n(m.Unavailable), n(m.Reset), n(m.Hung), n(m.Canceled), n(k.Late()))
		}
	}
	verdict := table.Table{
		Title: fmt.Sprintf("Goroutines %d before and %d after, heap %d KiB and %d KiB.", r.Before.Goroutines, r.After.Goroutines, r.Before.Heap>>10, r.After.Heap>>10),
		Head:  []string{"invariant", "holds"},
	}
	for _, c := range r.Checks() {
		verdict.Add(c.Invariant, table.Verdict(len(c.Broken) == 0))
	}
	return []table.Table{calls, keys, verdict}
}

func n[N int | int64 | uint64](count N) string { return fmt.Sprint(count) }
