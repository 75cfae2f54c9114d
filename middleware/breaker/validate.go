package breaker

import (
	"fmt"
	"math"
	"time"

	"github.com/sony/gobreaker/v2"
)

// maxBuckets bounds a rolling window. Gobreaker goes through all of its buckets
// for each one that ends, under its lock.
const maxBuckets = 1000

// Validate returns what is wrong with s, or nil. Attempt is the timeout of each
// attempt below the breaker, 0 if there is none or it is not known: only who
// knows it can tell whether calls that hang will trip the breaker.
func Validate(s gobreaker.Settings, attempt time.Duration) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%s: Settings.%s", title(s.Name), fmt.Sprintf(format, args...))
	}
	switch {
	case s.Timeout < 0:
		return wrong("Timeout is %v: it is how long the breaker stays open; 0 means 60s", s.Timeout)
	case s.Interval < 0:
		return wrong("Interval is %v: it is how long a closed breaker remembers results; 0 means until it opens", s.Interval)
	case s.BucketPeriod < 0:
		return wrong("BucketPeriod is %v: it is the step in which a rolling window moves; 0 means that the whole Interval is forgotten at once", s.BucketPeriod)
	case s.BucketPeriod > 0 && s.Interval == 0:
		return wrong("BucketPeriod is %v without an Interval: set Interval to the length of the rolling window", s.BucketPeriod)
	case s.BucketPeriod > s.Interval:
		return wrong("BucketPeriod is %v, longer than the Interval of %v: it must be a fraction of it", s.BucketPeriod, s.Interval)
	case s.BucketPeriod > 0 && s.Interval/s.BucketPeriod >= maxBuckets:
		return wrong("BucketPeriod is %v, which cuts the Interval of %v in too many: use fewer than %d", s.BucketPeriod, s.Interval, maxBuckets)
	case s.BucketPeriod > 0 && s.Interval > math.MaxInt64-s.BucketPeriod: // gobreaker rounds it up to whole buckets
		return wrong("Interval is %v, which in buckets of %v is longer than there is time: use a shorter one", s.Interval, s.BucketPeriod)
	case s.Interval > 0 && s.Interval <= attempt:
		return wrong("Interval is %v, no longer than the attempt timeout of %v: calls that hang would be forgotten before they end, and never trip the breaker; use several times the timeout, or 0", s.Interval, attempt)
	case s.IsSuccessful != nil:
		return wrong("IsSuccessful is set, but errors count by their class: mark those that are answers of a healthy service with turret.WithClass(err, turret.Permanent)")
	case s.IsExcluded != nil:
		return wrong("IsExcluded is set, but errors count by their class: a caller's cancel and deadline are excluded anyway; mark others with turret.WithClass(err, turret.Throttled) or turret.Rejected")
	}
	return nil
}

func mustBeValid(s gobreaker.Settings) {
	if err := Validate(s, 0); err != nil {
		panic(err)
	}
}
