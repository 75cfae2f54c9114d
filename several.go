package turret

import (
	"errors"
	"slices"
	"time"
)

// Hopeful returns the class of an error made of those of several alternatives,
// such as the replicas of a failover: Canceled if the caller went away, and
// otherwise the first of Transient, Unknown, Throttled and Rejected that is
// among classes. As long as one alternative may answer the next time, so may
// the whole; it is Permanent only if all are. Of no class it is Permanent.
func Hopeful(classes ...Class) Class {
	for _, c := range []Class{Canceled, Transient, Unknown, Throttled, Rejected} {
		if slices.Contains(classes, c) {
			return c
		}
	}
	return Permanent
}

// Soonest returns the RetryAfter of an error made of those of several
// alternatives: the soonest that any of them asked for. It is 0, at once, where
// one asked for something and another for nothing; and there is none where none
// asked. Permanent ones do not count.
func Soonest(errs ...error) (soonest time.Duration, ok bool) {
	atOnce := false
	for _, err := range errs {
		after, asked := RetryAfter(err)
		switch {
		case Classify(err) == Permanent:
		case !asked:
			atOnce = true
		case !ok || after < soonest:
			soonest, ok = after, true
		}
	}
	if atOnce {
		soonest = 0
	}
	return soonest, ok
}

// unready is why no replica of a fan-out is ready.
type unready []error

func (e unready) Error() string   { return errors.Join(e...).Error() }
func (e unready) Unwrap() []error { return e }

func (e unready) Class() Class {
	var classes []Class
	for _, err := range e {
		classes = append(classes, Classify(err))
	}
	return Hopeful(classes...)
}

func (e unready) RetryAfter() (time.Duration, bool) { return Soonest(e...) }
