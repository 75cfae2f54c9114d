package turret

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Class is what an error means to the layers above it. It is the one vocabulary
// they share: who makes an error classifies it once, and every layer acts on
// the class.
//
//	class      means                                       retry          breaker    failover
//	Unknown    nobody said                                 yes            failure    next
//	Transient  the service failed, may work next time      yes            failure    next
//	Throttled  the service is over quota                   yes, later     –          next
//	Permanent  the request or the key is wrong             no             success    no
//	Canceled   the caller went away                        no             –          no
//	Rejected   a layer refused, the service is unreached   if told to     –          next
type Class uint8

// The classes. Their zero value, Unknown, is treated as a failure.
const (
	Unknown Class = iota
	Transient
	Throttled
	Permanent
	Canceled
	Rejected
)

var classNames = [...]string{"unknown", "transient", "throttled", "permanent", "canceled", "rejected"}

// String returns the class's name in lower case.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// MarshalText returns the class's name, for logs and JSON.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

type classifier interface {
	error
	Class() Class
}

// Classify returns what err says of itself: the class of the first error in its
// tree that has a method Class() Class. Failing that, context.Canceled is
// Canceled, context.DeadlineExceeded is Transient, and all else, nil included,
// is Unknown.
//
// An error made of several answers for them with a Class method of its own.
//
// A layer that has called a service asks [Outcome] instead.
func Classify(err error) Class {
	if c, ok := errors.AsType[classifier](err); ok {
		return c.Class()
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Transient
	}
	return Unknown
}

// Outcome returns what err means to a layer that called a service with ctx and
// got err back. It is [Classify], but for who ended the call:
//
//   - the end of ctx itself, by its deadline, its cancel or its cause, is
//     Canceled: the caller went away, and nothing is known of the service;
//   - a time limit set below, as by the timeout layer, keeps its class, even
//     where ctx has ended since;
//   - a cancellation while ctx lives is the service's own doing, and Transient;
//   - an error that nobody classified, after ctx ended, is put down to that end.
//
// Without the first of these, ten callers with short deadlines would open a
// circuit breaker for everybody. Outcome of a nil error is Unknown.
func Outcome(ctx context.Context, err error) Class {
	if ctx.Err() == nil {
		if class := Classify(err); class != Canceled {
			return class
		}
		return Transient
	}
	if err == nil {
		return Unknown
	}
	if cause := context.Cause(ctx); cause != ctx.Err() && errors.Is(err, cause) {
		return Canceled
	}
	said, ok := errors.AsType[classifier](err)
	if ok && isVerdict(said) {
		return said.Class()
	}
	if !ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Canceled
	}
	return said.Class()
}

// isVerdict reports whether an error's class was formed knowing the context: a
// layer made it of several errors, or it is a time limit itself. Any other one
// may be a backend's wrapper around the caller's own context error.
func isVerdict(err error) bool {
	if _, several := err.(interface{ Unwrap() []error }); several {
		return true
	}
	is, ok := err.(interface{ Is(error) bool })
	return ok && is.Is(context.DeadlineExceeded)
}

// WithClass returns err classified as c, with the same message and err below
// it. WithClass of nil is nil. Leave context errors as they are: Outcome knows
// better what they mean.
func WithClass(err error, c Class) error {
	if err == nil {
		return nil
	}
	return &classed{err, c}
}

type classed struct {
	err   error
	class Class
}

func (e *classed) Error() string { return e.err.Error() }
func (e *classed) Unwrap() error { return e.err }
func (e *classed) Class() Class  { return e.class }

// RetryAfter returns how long err asks callers to wait before they try again:
// what the first error in its tree with a method
//
//	RetryAfter() (time.Duration, bool)
//
// says. Its bool tells whether there is such a wish at all.
func RetryAfter(err error) (time.Duration, bool) {
	type retryAfter interface {
		error
		RetryAfter() (time.Duration, bool)
	}
	if e, ok := errors.AsType[retryAfter](err); ok {
		return e.RetryAfter()
	}
	return 0, false
}

// WithRetryAfter returns err with the wish that callers wait for d before they
// try again, and the same message, class and err below it. A backend that says
// when, such as by HTTP's Retry-After, says it so. WithRetryAfter of nil is nil.
func WithRetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &waiting{err, d}
}

type waiting struct {
	err   error
	after time.Duration
}

func (e *waiting) Error() string                     { return e.err.Error() }
func (e *waiting) Unwrap() error                     { return e.err }
func (e *waiting) RetryAfter() (time.Duration, bool) { return e.after, true }
