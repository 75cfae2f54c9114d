package hedge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/turretgo/turret"
)

// ErrFailed is what errors.Is finds in every [*Error].
var ErrFailed = errors.New("original and hedges failed")

// Error is the error of a call that was hedged and failed all the same. It
// unwraps to what each of its calls said. Where only one had failed when the
// call ended, the error is that one's, unchanged.
type Error struct {
	Calls []CallError // in the order in which they failed
}

// CallError is how one of the calls failed.
type CallError struct {
	Hedge int          // 0 for the original, else which hedge
	Err   error        // what it said
	Class turret.Class // what it means
}

// failure returns a lone error unchanged.
func failure(failed []CallError) error {
	if len(failed) == 1 {
		return failed[0].Err
	}
	return &Error{failed}
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "hedge: %d calls failed", len(e.Calls))
	for i, c := range e.Calls {
		b.WriteString([...]string{": ", "; "}[min(i, 1)])
		if c.Hedge == 0 {
			fmt.Fprintf(&b, "original: %v", c.Err)
		} else {
			fmt.Fprintf(&b, "hedge %d: %v", c.Hedge, c.Err)
		}
	}
	return b.String()
}

// Is makes the error match ErrFailed.
func (e *Error) Is(target error) bool { return target == ErrFailed }

// Unwrap returns what the calls said.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, c := range e.Calls {
		errs = append(errs, c.Err)
	}
	return errs
}

// Class is the first of Permanent, Canceled, Transient, Unknown, Throttled and
// Rejected that is among the calls'. Permanent is an answer, and Canceled means
// that the caller went away; else the most hopeful decides, for as long as one
// call may succeed the next time, so may the whole.
func (e *Error) Class() turret.Class {
	for _, class := range []turret.Class{turret.Permanent, turret.Canceled, turret.Transient, turret.Unknown, turret.Throttled} {
		if slices.ContainsFunc(e.Calls, func(c CallError) bool { return c.Class == class }) {
			return class
		}
	}
	return turret.Rejected
}

// RetryAfter is the soonest that any call was asked to wait; there is none when
// one was asked for nothing.
func (e *Error) RetryAfter() (soonest time.Duration, ok bool) {
	for _, c := range e.Calls {
		after, asked := turret.RetryAfter(c.Err)
		if !asked {
			return 0, false
		}
		if !ok || after < soonest {
			soonest, ok = after, true
		}
	}
	return soonest, ok
}
