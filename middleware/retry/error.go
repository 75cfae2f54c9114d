package retry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/turretgo/turret"
)

// Why a retry that was due did not happen: what errors.Is finds in an [*Error].
var (
	ErrExhausted = errors.New("all attempts failed")
	ErrBudget    = errors.New("retry budget is empty")
	ErrDeadline  = errors.New("deadline leaves no time for another attempt")
)

// Error is the error of a call that was tried, and failed. It unwraps to every
// attempt's error, the last one first, and to Reason.
//
// Its class and its RetryAfter are those of the last attempt; it is Canceled
// where the caller went away during a wait.
type Error struct {
	Attempts []error // what the failed attempts said, in their order
	Reason   error   // ErrExhausted, ErrBudget, ErrDeadline or the context's error; nil if the last attempt's error is not to be retried
	class    turret.Class
	refusals int // of Attempts, those that never reached the service
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("retry: ")
	if e.Reason != nil {
		fmt.Fprintf(&b, "%v, ", e.Reason)
	}
	switch tries := len(e.Attempts) - e.refusals; {
	case len(e.Attempts) == 0: // a policy asked to retry it
		b.WriteString("after a success")
	case tries == 0:
		b.WriteString("before the service was reached")
	case tries == 1:
		b.WriteString("after 1 attempt")
	default:
		fmt.Fprintf(&b, "after %d attempts", tries)
	}
	e.write(&b)
	return b.String()
}

// write writes what was said, equal neighbours once, and of many the first and
// the last: who is on call reads those, and Unwrap has the rest.
func (e *Error) write(b *strings.Builder) {
	type run struct {
		text string
		n    int
	}
	var runs []run
	for _, err := range e.Attempts {
		if text := err.Error(); len(runs) > 0 && runs[len(runs)-1].text == text {
			runs[len(runs)-1].n++
		} else {
			runs = append(runs, run{text, 1})
		}
	}
	for i, r := range runs {
		last := len(runs) - 1
		if len(runs) > 3 && i > 0 && i < last {
			if i == 1 {
				fmt.Fprintf(b, "; then %d more", last-1)
			}
			continue
		}
		b.WriteString([...]string{": ", "; then: "}[min(i, 1)])
		b.WriteString(r.text)
		if r.n > 1 {
			fmt.Fprintf(b, " (%d times)", r.n)
		}
	}
}

// Unwrap returns the attempts' errors, the last one first, and the reason.
func (e *Error) Unwrap() []error {
	errs := slices.Clone(e.Attempts)
	slices.Reverse(errs)
	if e.Reason != nil {
		errs = append(errs, e.Reason)
	}
	return errs
}

// Class is the last attempt's, or Canceled where the caller went away.
func (e *Error) Class() turret.Class { return e.class }

// RetryAfter is the last attempt's.
func (e *Error) RetryAfter() (time.Duration, bool) {
	if len(e.Attempts) == 0 {
		return 0, false
	}
	return turret.RetryAfter(e.Attempts[len(e.Attempts)-1])
}

// history is the failed attempts of a call so far.
type history struct {
	errs      []error
	waitedOut bool // the last one was a refusal from below
	refusals  int
}

// add records an attempt's error. Of refusals that were waited out one after the
// other only the last is kept: there can be many.
func (h *history) add(err error, class turret.Class, waitedOut bool) {
	if err == nil {
		return
	}
	switch refused := class == turret.Rejected; {
	case refused && h.waitedOut:
		h.errs = h.errs[:len(h.errs)-1]
	case refused:
		h.refusals++
	}
	h.errs = append(h.errs, err)
	h.waitedOut = waitedOut
}

// end returns the error of a call whose last attempt said err, which is of class
// said. Class is the whole's.
func (h *history) end(err error, said, class turret.Class, reason error) error {
	if reason == nil && (err == nil || len(h.errs) == 0) {
		return err
	}
	h.add(err, said, false)
	return &Error{h.errs, reason, class, h.refusals}
}
