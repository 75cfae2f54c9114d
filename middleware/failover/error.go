package failover

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/turretgo/turret"
)

// ErrFailed is what errors.Is finds in every [*Error].
var ErrFailed = errors.New("no replica answered")

// Error is the error of a call that more than one replica was asked to answer.
// It unwraps to what each of them said.
type Error struct {
	Replicas []ReplicaError // in the order of the calls
}

// ReplicaError is what one replica said.
type ReplicaError struct {
	Name  string       // the replica's
	Err   error        // what it said
	Class turret.Class // what it means
}

func (e *Error) add(name string, err error, class turret.Class) {
	e.Replicas = append(e.Replicas, ReplicaError{name, err, class})
}

// end returns a lone error unchanged.
func (e *Error) end() error {
	if len(e.Replicas) == 1 {
		return e.Replicas[0].Err
	}
	return e
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "failover: none of %d replicas answered", len(e.Replicas))
	for i, r := range e.Replicas {
		fmt.Fprintf(&b, "%s%s: %v", [...]string{": ", "; "}[min(i, 1)], r.Name, r.Err)
	}
	return b.String()
}

// Is makes the error match ErrFailed.
func (e *Error) Is(target error) bool { return target == ErrFailed }

// Unwrap returns what the replicas said, in the order of the calls.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, r := range e.Replicas {
		errs = append(errs, r.Err)
	}
	return errs
}

// Class is Canceled if the caller went away, and otherwise the first of
// Transient, Unknown, Throttled and Rejected that is among the replicas': as
// long as one of them may answer the next time, so may the service.
func (e *Error) Class() turret.Class {
	for _, c := range []turret.Class{turret.Canceled, turret.Transient, turret.Unknown, turret.Throttled, turret.Rejected} {
		if slices.ContainsFunc(e.Replicas, func(r ReplicaError) bool { return r.Class == c }) {
			return c
		}
	}
	return turret.Permanent
}

// RetryAfter is the soonest that any replica asked for; there is none when a
// replica that may answer at once asked for nothing.
func (e *Error) RetryAfter() (soonest time.Duration, ok bool) {
	for _, r := range e.Replicas {
		after, asked := turret.RetryAfter(r.Err)
		switch {
		case r.Class == turret.Permanent:
		case !asked:
			return 0, false
		case !ok || after < soonest:
			soonest, ok = after, true
		}
	}
	return soonest, ok
}
