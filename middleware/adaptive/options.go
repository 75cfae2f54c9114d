package adaptive

import (
	"cmp"
	"fmt"
	"math"
	"time"
)

// NoQueue, as Options.MaxQueue, refuses a call that finds the limit reached.
const NoQueue = -1

// DefaultMaxQueue is how many calls may wait where Options.MaxQueue is 0.
const DefaultMaxQueue = 1024

// most is the highest limit: a window's count must have room for a call each.
const most = 100_000

// Options configure a limit. The zero Options are ready to use.
type Options struct {
	// Min and Max are the bounds of the limit, in calls under way at once.
	// However slow the service becomes, Min are let through. Zero is 1 and 1000.
	Min, Max int

	// Initial is the limit to begin with. Zero is 20, or what of Min and Max is
	// nearest to it.
	Initial int

	// Tolerance is how many times its unloaded latency the service may take
	// before that counts as a queue, and 1 at least. More of it suits a service
	// whose latency varies; less keeps latency lower. Zero is 1.1.
	Tolerance float64

	// Window is the least time between two changes of the limit. A window goes
	// on until it has also seen 10 answers, and as many as there were calls
	// under way at once. Zero is 100 ms.
	Window time.Duration

	// MaxQueue is how many calls may wait for others to end. Zero is
	// DefaultMaxQueue, and NoQueue refuses instead of waiting.
	MaxQueue int

	// MaxWait bounds each wait. Zero leaves that to the context.
	MaxWait time.Duration

	// OnChange, if set, is told of each change of the limit, in order, in the
	// goroutine of the call that brought it about. It may call through the
	// limit. While it runs, the limit does not change.
	OnChange func(Change)
}

// Change is a change of the limit.
type Change struct {
	From, To int
	Reason   Reason
	Latency  time.Duration // the mean in the window that ended; 0 if it had no answers
	Unloaded time.Duration // what calls take without a queue; 0 while unknown
}

// Validate says what is wrong with o, or returns nil.
func (o Options) Validate() error {
	for _, f := range []struct {
		name  string
		value int
		zero  string
	}{
		{"Min", o.Min, "1"},
		{"Max", o.Max, "1000"},
		{"Initial", o.Initial, "20"},
	} {
		if f.value < 0 {
			return fmt.Errorf("adaptive: %s is %d; it is a number of calls, or 0 for %s", f.name, f.value, f.zero)
		}
	}
	given := o
	o = o.withDefaults()
	switch {
	case o.Max > most:
		return fmt.Errorf("adaptive: Max is %d; it is %d at the most", o.Max, most)
	case o.Min > o.Max:
		return fmt.Errorf("adaptive: Min is %d, above Max, which is %d; the limit moves between the two", o.Min, o.Max)
	case o.Initial < o.Min, o.Initial > o.Max:
		return fmt.Errorf("adaptive: Initial is %d, not between Min, which is %d, and Max, which is %d", o.Initial, o.Min, o.Max)
	case !(o.Tolerance >= 1) || math.IsInf(o.Tolerance, 1):
		return fmt.Errorf("adaptive: Tolerance is %v; latency may rise to so many times what it is without load, so it is at least 1, or 0 for 1.1", given.Tolerance)
	case o.Window < 0:
		return fmt.Errorf("adaptive: Window is %v; it is the time between two changes, or 0 for 100ms", o.Window)
	case o.MaxQueue < 0 && o.MaxQueue != NoQueue:
		return fmt.Errorf("adaptive: MaxQueue is %d; it is how many calls may wait, 0 for %d, or NoQueue", o.MaxQueue, DefaultMaxQueue)
	case o.MaxWait < 0:
		return fmt.Errorf("adaptive: MaxWait is %v; it is a time to wait, or 0 for as long as the context allows; not to wait at all is MaxQueue: NoQueue", o.MaxWait)
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.Min = cmp.Or(o.Min, 1)
	o.Max = cmp.Or(o.Max, 1000)
	o.Initial = cmp.Or(o.Initial, min(max(20, o.Min), o.Max))
	o.Tolerance = cmp.Or(o.Tolerance, 1.1)
	o.Window = cmp.Or(o.Window, 100*time.Millisecond)
	o.MaxQueue = cmp.Or(o.MaxQueue, DefaultMaxQueue)
	return o
}

// String takes options with their defaults filled in.
func (o Options) String() string {
	line := fmt.Sprintf("adaptive concurrency, %d to %d", o.Min, o.Max)
	if o.MaxQueue == NoQueue {
		return line + ", no queue"
	}
	line += fmt.Sprintf(", queue %d", o.MaxQueue)
	if o.MaxWait > 0 {
		line += fmt.Sprintf(", waits %v at most", o.MaxWait)
	}
	return line
}
