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

// Class is Permanent if a call's is, for that is an answer, and else that of the
// most hopeful call: see [turret.Hopeful].
func (e *Error) Class() turret.Class {
	var classes []turret.Class
	for _, c := range e.Calls {
		classes = append(classes, c.Class)
	}
	if slices.Contains(classes, turret.Permanent) {
		return turret.Permanent
	}
	return turret.Hopeful(classes...)
}

// RetryAfter is the soonest that any call was asked to wait: see [turret.Soonest].
func (e *Error) RetryAfter() (time.Duration, bool) { return turret.Soonest(e.Unwrap()...) }
