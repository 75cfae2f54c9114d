package failover

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/turretgo/turret"
)

// ErrFailed is what errors.Is finds in every [*Error].
var ErrFailed = errors.New("all replicas failed")

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

// failure returns a lone error unchanged.
func failure(failed []ReplicaError) error {
	switch len(failed) {
	case 0:
		return turret.ErrTaken
	case 1:
		return failed[0].Err
	}
	return &Error{failed}
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "failover: %d replicas failed", len(e.Replicas))
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

// Class is that of the most hopeful replica: see [turret.Hopeful].
func (e *Error) Class() turret.Class {
	var classes []turret.Class
	for _, r := range e.Replicas {
		classes = append(classes, r.Class)
	}
	return turret.Hopeful(classes...)
}

// RetryAfter is the soonest that any replica asked for: see [turret.Soonest].
func (e *Error) RetryAfter() (time.Duration, bool) { return turret.Soonest(e.Unwrap()...) }
