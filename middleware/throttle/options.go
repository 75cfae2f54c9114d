package throttle

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/turretgo/turret"
)

// Options configure [Layer]. The zero Options are ready to use.
type Options struct {
	// K is how many calls may be made for each that the service accepts. At 1
	// the layer refuses as soon as the service does; higher values waste more of
	// the service on refusing, and notice sooner when it has recovered. 0 means
	// 2, as in the book.
	K float64

	// Window is how long a call is remembered. It should hold a few dozen calls.
	// When a service recovers from refusing all, the part of the calls that gets
	// through grows by itself, and it takes a few windows until that is all of
	// them. 0 means 10s; the book has two minutes.
	Window time.Duration

	// Probe is how often a call goes through whatever the odds, so who makes
	// fewer calls is never refused. 0 means 1s.
	Probe time.Duration

	// Refused, if set, decides whether err is the service's refusal, in place of
	// the error's class: as where an overloaded service times out, and says
	// nothing. It is not asked about Canceled and Rejected.
	Refused func(err error, class turret.Class) bool

	// History is used in place of a fresh one, and takes the place of Window.
	// Services that are given the same one throttle together: those that have
	// one quota do.
	History *History

	// Rand returns a random number in [0, 1), and is safe for concurrent use.
	// Nil means that of math/rand/v2; tests may have one that is seeded.
	Rand func() float64
}

// Validate says what is wrong with o, or returns nil.
func (o Options) Validate() error {
	switch {
	case o.K != 0 && !(o.K >= 1) || math.IsInf(o.K, 0):
		return fmt.Errorf("throttle: K is %v; it is how many calls may be made for each accepted, a finite number of at least 1, or 0 for 2", o.K)
	case o.Probe < 0:
		return fmt.Errorf("throttle: Probe is %v; it is a time between calls that go through, or 0 for 1s", o.Probe)
	case o.History == nil:
		return validate(cmp.Or(o.Window, defaultWindow))
	case o.Window != 0:
		return errors.New("throttle: both History and Window are set; the History has its own window, so set one or the other")
	case o.History.window == 0:
		return errors.New("throttle: History is a zero History, which remembers nothing; make it with throttle.NewHistory")
	}
	return nil
}

const defaultWindow = 10 * time.Second

func validate(window time.Duration) error {
	if window < slots {
		return fmt.Errorf("throttle: Window is %v; it is how long calls are remembered, such as 10s", window)
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.K = cmp.Or(o.K, 2)
	o.Window = cmp.Or(o.Window, defaultWindow)
	o.Probe = cmp.Or(o.Probe, time.Second)
	if o.Refused == nil {
		o.Refused = func(_ error, class turret.Class) bool { return class == turret.Throttled }
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return o
}

// describe is the layer's line in turret.Describe.
func (o Options) describe(h *History) string {
	return fmt.Sprintf("throttle K %.4g, window %v, probe every %v", o.K, h.window, o.Probe)
}
