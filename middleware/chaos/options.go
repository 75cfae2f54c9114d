package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/turretgo/turret"
)

// ErrInjected is the error of a call that was made to fail, unless Options.Err
// says otherwise. Its class is Transient.
var ErrInjected error = turret.WithClass(errors.New("chaos: injected error"), turret.Transient)

// ErrPanic is what a call panics with that was made to panic.
var ErrPanic = errors.New("chaos: injected panic")

// Options configure the faults. The zero Options inject none.
//
// The rates are shares of the calls, from 0 to 1. One roll of the dice decides,
// so a call meets one fault at most and the rates add up to at most 1. A call
// that does not meet any reaches the service; the others do not.
type Options struct {
	ErrorRate float64 // calls that return Err
	HangRate  float64 // calls that hang until their context is done, and return its error
	PanicRate float64 // calls that panic with ErrPanic

	// Err is the error of the calls that fail. Nil is ErrInjected. Set it to
	// what the service itself would say, with the class that this has.
	Err error

	// Latency, if set, is how long a call waits before its fault or the service:
	// see Uniform. It is called once a call, never concurrently, and draws from
	// the Rand that it is given for a run to be repeatable. 0 and less is none.
	Latency func(*rand.Rand) time.Duration

	// Seed seeds the dice. The same calls, one after another, meet the same
	// faults in the same order; concurrent ones share out the same faults, in
	// whatever order they arrive. Give replicas seeds of their own, or they
	// fail in step.
	Seed uint64

	// When, if set, says which calls are meddled with: all, while some switch is
	// on, or those whose context is marked. The others go through, and no dice
	// are rolled for them.
	When func(ctx context.Context) bool
}

// Validate says what is wrong with o, if anything is.
func (o Options) Validate() error {
	for _, r := range []struct {
		name string
		rate float64
	}{{"ErrorRate", o.ErrorRate}, {"HangRate", o.HangRate}, {"PanicRate", o.PanicRate}} {
		if !(r.rate >= 0 && r.rate <= 1) { // so put, it holds for NaN
			return fmt.Errorf("chaos: %s is %v; it is a share of the calls, from 0 to 1", r.name, r.rate)
		}
	}
	if sum := o.ErrorRate + o.HangRate + o.PanicRate; sum > 1+1e-9 { // .1+.2+.7 may miss 1 by a rounding
		return fmt.Errorf("chaos: ErrorRate, HangRate and PanicRate add up to %v; a call meets one fault at most, so they add up to at most 1", sum)
	}
	return nil
}

// Uniform is a Latency from lo to hi, each as likely as the others. With lo equal
// to hi it is always the same. It panics unless 0 ≤ lo ≤ hi.
func Uniform(lo, hi time.Duration) func(*rand.Rand) time.Duration {
	if lo < 0 || hi < lo {
		panic(fmt.Errorf("chaos: Uniform from %v to %v; it must go from 0 or more to no less than that", lo, hi))
	}
	return func(r *rand.Rand) time.Duration {
		return lo + time.Duration(r.Uint64N(uint64(hi-lo)+1))
	}
}

// String is the layer's line in turret.Describe.
func (o Options) String() string {
	var faults []string
	add := func(rate float64, what string) {
		if rate > 0 {
			faults = append(faults, fmt.Sprintf("%.4g%% %s", 100*rate, what))
		}
	}
	add(o.ErrorRate, "errors")
	add(o.HangRate, "hangs")
	add(o.PanicRate, "panics")
	if o.Latency != nil {
		faults = append(faults, "latency")
	}
	if len(faults) == 0 {
		return "chaos without faults"
	}
	return fmt.Sprintf("chaos %s, seed %d", strings.Join(faults, ", "), o.Seed)
}
