package fleet

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/go-redis/redis_rate/v10"
)

// store is where the fleet counts.
type store interface {
	// allow takes n tokens, or none. If none, they will all be there in retry,
	// if nobody takes any before.
	allow(ctx context.Context, n int) (granted bool, retry time.Duration, err error)
}

// counter is a store in Redis.
type counter struct {
	gcra  *redis_rate.Limiter
	key   string
	limit redis_rate.Limit
}

func newCounter(o LimiterOptions) counter {
	return counter{
		gcra:  redis_rate.NewLimiter(o.Client),
		key:   o.Key,
		limit: limit(o),
	}
}

// limit returns the quota in redis_rate's terms, whose rate is a whole number.
func limit(o LimiterOptions) redis_rate.Limit {
	if whole := int(o.Rate); float64(whole) == float64(o.Rate) {
		return redis_rate.Limit{Rate: whole, Period: time.Second, Burst: o.Burst}
	}
	period := time.Duration(math.Ceil(float64(time.Second) / float64(o.Rate)))
	return redis_rate.Limit{Rate: 1, Period: period, Burst: o.Burst}
}

func (c counter) allow(ctx context.Context, n int) (granted bool, retry time.Duration, err error) {
	// redis_rate asserts the types of what Redis sends.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("fleet: Redis answered what redis_rate does not understand: %s", quote(p))
		}
	}()
	r, err := c.gcra.AllowN(ctx, c.key, c.limit, n)
	switch {
	case err != nil:
		return false, 0, said{err}
	case r.Allowed == n:
		return true, 0, nil
	case r.Allowed != 0 || r.RetryAfter < 0:
		return false, 0, fmt.Errorf("fleet: Redis answered nonsense: asked for %d tokens, it gave %d, and the rest in %v", n, r.Allowed, r.RetryAfter)
	}
	return false, r.RetryAfter, nil
}
