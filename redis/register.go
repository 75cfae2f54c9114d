package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// register holds a value, the breaker's state.
type register interface {
	// swap puts next in the place of old if old is there. Nothing there is "",
	// and a next of "" changes nothing.
	swap(ctx context.Context, old, next string) (reading, error)
}

// reading is what a register holds after a swap.
type reading struct {
	value   string
	swapped bool
	at      time.Time // by the register's clock
}

// keyRegister is a key in Redis.
type keyRegister struct {
	client redis.UniversalClient
	key    string
	ttl    time.Duration
}

func newKeyRegister(o BreakerOptions) keyRegister {
	s := o.shared()
	const year = 365 * 24 * time.Hour // enough, and does not overflow
	return keyRegister{o.Client, stateKey(s), min(s.Timeout, year) + min(s.Interval, year) + time.Hour}
}

// stateKey is where gobreaker keeps the state.
func stateKey(s gobreaker.Settings) string { return "gobreaker:state:" + s.Name }

// maxState is the length that is looked at: breakers have a thousand buckets at
// most, of less than 200 bytes.
const maxState = 1 << 18

var swapScript = redis.NewScript(`
redis.replicate_commands()
local time = redis.call('TIME')
local value = redis.call('GET', KEYS[1]) or ''
if ARGV[2] == '' or value ~= ARGV[1] then
	return {value, time[1], time[2], '0'}
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {ARGV[2], time[1], time[2], '1'}
`)

func (r keyRegister) swap(ctx context.Context, old, next string) (reading, error) {
	reply, err := swapScript.Run(ctx, r.client, []string{r.key}, old, next, r.ttl.Milliseconds()).StringSlice()
	if err != nil {
		return reading{}, said{err}
	}
	if len(reply) != 4 {
		return reading{}, fmt.Errorf("fleet: Redis answered nonsense: %d items, not the state, the time in two parts and whether it was changed", len(reply))
	}
	if len(reply[0]) > maxState {
		return reading{}, fmt.Errorf("fleet: Redis has %d bytes under %q, which no breaker's state has; delete the key", len(reply[0]), r.key)
	}
	seconds, err := strconv.ParseInt(reply[1], 10, 64)
	micros, err2 := strconv.ParseInt(reply[2], 10, 64)
	if err := errors.Join(err, err2); err != nil {
		return reading{}, fmt.Errorf("fleet: Redis answered nonsense for a time: %s", quote(err))
	}
	at := time.Unix(seconds, micros*1000)
	if seconds < 0 || micros < 0 || micros >= 1e6 || at.UTC().Year() > 9999 {
		return reading{}, fmt.Errorf("fleet: Redis answered nonsense for a time: %d seconds and %d microseconds since 1970", seconds, micros)
	}
	return reading{reply[0], reply[3] == "1", at}, nil
}
