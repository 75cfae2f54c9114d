package fleet

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret/middleware/breaker"
)

// BreakerOptions configures [NewBreaker]. Client and Key must be set.
type BreakerOptions struct {
	// Client is as in [LimiterOptions].
	Client redis.UniversalClient

	// Key names what is called. Breakers with the same Key and Settings share a
	// state. In Redis it is "gobreaker:state:", Key, and those of the Settings
	// that are numbers.
	Key string

	// Settings are as in package breaker. ReadyToTrip judges this replica's
	// results and, apart from them, the fleet's; either opens. OnStateChange
	// hears of what this replica's calls find, whoever brought it about. What
	// the fleet brought about it hears from a goroutine of its own, one change
	// at a time and in order, so that it holds up no news, and may call Close;
	// a panic of it there ends the program.
	Settings gobreaker.Settings

	// Timeout is how long an answer of Redis may take. Zero is 50 ms.
	Timeout time.Duration

	// OnFallback, if not nil, is called when this replica's breaker goes on
	// alone, with the reason. OnRecover is called when Redis answers again,
	// with how long that took.
	//
	// They are called one at a time, and hold up no caller. They must not call
	// Close; until they return, Redis is not asked. They run in a goroutine of the
	// Breaker's, so that a panic of theirs ends the program.
	OnFallback func(err error)
	OnRecover  func(after time.Duration)
}

// Validate says what is wrong with o, or returns nil.
func (o BreakerOptions) Validate() error {
	switch {
	case isNil(o.Client):
		return errors.New("fleet: Client is nil; set the client of the Redis that the fleet shares")
	case o.Key == "":
		return errors.New("fleet: Key is empty; name what is called, as all who share the breaker do")
	case o.Timeout < 0:
		return fmt.Errorf("fleet: Timeout is %v; it is how long Redis may take to answer, or 0 for %v", o.Timeout, defaultTimeout)
	}
	if err := breaker.Validate(o.Settings, 0); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	return nil
}

func (o BreakerOptions) withDefaults() BreakerOptions {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Settings.Timeout == 0 {
		o.Settings.Timeout = time.Minute
	}
	if o.Settings.MaxRequests == 0 {
		o.Settings.MaxRequests = 1
	}
	if trips := o.Settings.ReadyToTrip; trips != nil { // gobreaker asks it under a lock, and there are two
		var mu sync.Mutex
		o.Settings.ReadyToTrip = func(c gobreaker.Counts) bool {
			mu.Lock()
			defer mu.Unlock()
			return trips(c)
		}
	}
	return o
}

// shared returns the settings of the fleet's breaker. Its name tells apart what
// cannot be shared, as while a release with other Settings is rolled out.
func (o BreakerOptions) shared() gobreaker.Settings {
	s := o.Settings
	return gobreaker.Settings{
		Name:         fmt.Sprintf("%s:%d:%v:%v:%v", o.Key, s.MaxRequests, s.Interval, s.BucketPeriod, s.Timeout),
		MaxRequests:  s.MaxRequests,
		Interval:     s.Interval,
		BucketPeriod: s.BucketPeriod,
		Timeout:      s.Timeout,
		ReadyToTrip:  s.ReadyToTrip,
	}
}
