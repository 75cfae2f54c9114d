// Package timeout bounds how long a call may take.
//
// The layer gives the context below it a deadline, and relies on the service to
// return soon after that. It starts no goroutine: a service that ignores its
// context is made to let go by what wraps it, such as signer.Wrap.
//
// One timeout goes around the whole call, above the retries, and one around each
// attempt, below them:
//
//	timeout 10s → retry → breaker → timeout 2s → service
//
// The first is the caller's patience. The second turns a hung attempt into an
// error that a retry can act on and that a breaker counts, while there is still
// time for another; [LearningLayer] has it follow the service. Errors tell them
// apart: whose time ran out is part of the error, and a deadline of the caller's
// own is never [ErrExceeded]. Passing the time that is left down the stack is what
// the SRE book calls deadline propagation, and a Go context does.
//
// The layer costs a reading of the clock and one allocation, a fifth of what
// context.WithTimeout costs, as long as nobody below asks the context for Done or
// makes another from it: its timer is started then, and it costs from there on what
// one of the standard library does, and two allocations more. So what is saved is
// saved by services that answer at once, such as caches and local keys, and by calls
// that a layer refuses; net/http and database/sql ask.
//
// Without a timer, the clock alone does not tell whether a service that never looks
// at its context was left by its caller before or after its time ran out. The layer
// puts such a call down to the caller.
package timeout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/internal/deadline"
)

// ErrExceeded is what errors.Is finds in the error of a call that ran out of
// the time that this package's layer gave it. Such an error is also a
// context.DeadlineExceeded.
var ErrExceeded = errors.New("timeout exceeded")

// Error is the error of a call that ran out of time. Its class is Transient: the
// service did not answer in time, and may the next time.
type Error struct {
	Limit time.Duration // the time that the call had
	Err   error         // what the service returned when its context ended; may be nil
}

func (e *Error) Error() string {
	text := fmt.Sprintf("timeout: no answer within %v", e.Limit)
	if e.Err == nil || e.Err == context.DeadlineExceeded {
		return text
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns what the service returned.
func (e *Error) Unwrap() error { return e.Err }

// Is makes the error match ErrExceeded and context.DeadlineExceeded.
func (e *Error) Is(target error) bool {
	return target == ErrExceeded || target == context.DeadlineExceeded
}

// Class is Transient.
func (e *Error) Class() turret.Class { return turret.Transient }

// Timeout is true, as net.Error has it.
func (e *Error) Timeout() bool { return true }

// Validate returns an error unless d is a time limit that a call can keep.
func Validate(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("timeout: limit is %v; it must be above zero", d)
	}
	return nil
}

// Layer ends the context of each call d after its start. It panics with
// Validate's error unless d is above zero.
//
// A call that fails because its time is up returns an [*Error]. A response that
// arrives is returned even when the time ran out at that instant, and so is an
// error with a class of its own; one that nobody classified is put down to the
// time, and is found below the Error. The layer has no state.
//
// A limit no shorter than that of a timeout further up never gets to speak: the
// one above runs out first, which to this layer is its caller's going away.
func Layer[Req, Resp any](d time.Duration) turret.Layer[Req, Resp] {
	if err := Validate(d); err != nil {
		panic(err)
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return newService(next, d)
	}
}

// Expired reports whether a layer of this package ended ctx, for who watches a
// service from below that layer. By [turret.Outcome] a call there is Canceled, for
// it was ended from above; who counts how a service does counts it as Transient,
// as the layer will say: there was no answer in time.
func Expired(ctx context.Context) bool {
	return ctx.Err() != nil && errors.Is(context.Cause(ctx), ErrExceeded)
}

func newService[Req, Resp any](next turret.Service[Req, Resp], limit time.Duration) *service[Req, Resp] {
	return &service[Req, Resp]{next: next, limit: limit, cause: &Error{Limit: limit}, below: []any{next}}
}

type service[Req, Resp any] struct {
	next  turret.Service[Req, Resp]
	limit time.Duration
	cause *Error // marks the contexts that this very layer ended
	below []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	bounded := deadline.After(ctx, s.limit, s.cause)
	defer bounded.Cancel()
	ctx = bounded
	resp, err := s.next.Call(ctx, req)
	if err == nil || context.Cause(ctx) != s.cause || turret.Outcome(ctx, err) != turret.Canceled {
		return resp, err
	}
	if err == error(s.cause) { // from a service that reports causes
		err = ctx.Err()
	}
	return resp, &Error{s.limit, err}
}

func (s *service[Req, Resp]) String() string { return "timeout " + s.limit.String() }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }
