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
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("retry: ")
	if e.Reason != nil {
		fmt.Fprintf(&b, "%v, ", e.Reason)
	}
	switch len(e.Attempts) {
	case 0: // a policy asked to retry a success
		b.WriteString("after a success")
	case 1:
		b.WriteString("after 1 attempt: ")
	default:
		fmt.Fprintf(&b, "after %d attempts: ", len(e.Attempts))
	}
	writeRuns(&b, e.Attempts)
	return b.String()
}

// writeRuns writes errors in their order, and equal neighbours once.
func writeRuns(b *strings.Builder, errs []error) {
	for i := 0; i < len(errs); {
		text, n := errs[i].Error(), 1
		for i+n < len(errs) && errs[i+n].Error() == text {
			n++
		}
		if i > 0 {
			b.WriteString("; then: ")
		}
		b.WriteString(text)
		if n > 1 {
			fmt.Fprintf(b, " (%d times)", n)
		}
		i += n
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
	unreached bool // the last one was a refusal from below
}

// add records an attempt's error. Of refusals that follow each other only the
// last is kept: there can be many while a call waits them out.
func (h *history) add(err error, unreached bool) {
	if err == nil {
		return
	}
	if unreached && h.unreached {
		h.errs = h.errs[:len(h.errs)-1]
	}
	h.errs = append(h.errs, err)
	h.unreached = unreached
}

// end returns the error of a call whose last attempt said err.
func (h *history) end(err error, class turret.Class, reason error) error {
	if reason == nil && (err == nil || len(h.errs) == 0) {
		return err
	}
	h.add(err, false)
	return &Error{h.errs, reason, class}
}
