package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/turretgo/turret/middleware/ratelimit"
)

// Limiter is a [ratelimit.Limiter] that counts in Redis, for all processes that
// have one of the same Key. The package's documentation says how.
//
// Callers are served in the order they came, within this process. Who cannot be
// served in time is refused at once, with a [ratelimit.Error]; where the fleet
// wants more than the quota, when a token comes is an estimate, made of what
// this replica has been getting.
//
// It is safe for concurrent use.
type Limiter struct {
	o      LimiterOptions
	store  store
	tokens *tokens // used under queue's lock
	queue  *ratelimit.Queue

	redis   caller
	fetcher sync.WaitGroup
}

var _ ratelimit.Limiter = (*Limiter)(nil)

// NewLimiter returns a Limiter, and does not ask Redis yet. It panics with
// o.Validate's error if there is one.
func NewLimiter(o LimiterOptions) *Limiter {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	o = o.withDefaults()
	return newLimiter(o, newCounter(o))
}

func newLimiter(o LimiterOptions, s store) *Limiter {
	l := &Limiter{o: o, store: s, tokens: newTokens(o), redis: newCaller(o.Timeout)}
	l.queue = ratelimit.NewQueue(l.tokens)
	l.tokens.start = func() { l.fetcher.Go(l.fetch) }
	return l
}

// Wait takes a token, and waits for it if it must, as [ratelimit.Limiter] says.
// With ratelimit.NoWait it waits for an answer of Redis at most, and that no
// longer than Timeout.
func (l *Limiter) Wait(ctx context.Context, max time.Duration) error {
	return l.queue.Wait(ctx, l.bound(max))
}

// WaitReady is Wait, and calls ready as [ratelimit.Queue.WaitReady] does.
func (l *Limiter) WaitReady(ctx context.Context, max time.Duration, ready func() error) error {
	return l.queue.WaitReady(ctx, l.bound(max), ready)
}

// Check returns the refusal that Wait would answer with at once, for a call
// without a deadline. It takes no token, and does not ask Redis.
func (l *Limiter) Check(max time.Duration) error { return l.queue.Check(l.bound(max)) }

// bound lets a call that does not wait for tokens wait for Redis, where that
// may have some.
func (l *Limiter) bound(max time.Duration) time.Duration {
	if max >= 0 {
		return max
	}
	l.queue.Update(func(_ int, now time.Time) bool {
		if l.tokens.lost == nil && !now.Before(l.tokens.askAt) {
			max = l.o.Timeout
		}
		return false
	})
	return max
}

// Err returns why the Limiter uses its local share of the quota, or nil if it
// shares the fleet's.
func (l *Limiter) Err() (err error) {
	l.queue.Update(func(int, time.Time) bool {
		err = l.tokens.lost
		return false
	})
	return err
}

// String is the limiter's part of a line in [turret.Describe], which a layer
// asks for once: what it is set to, not how it fares, for which see State and Err.
func (l *Limiter) String() string {
	share, burst := l.o.share()
	return fmt.Sprintf("fleet %q, %.6g/s, burst %d; without Redis %.6g/s, burst %d",
		l.o.Key, float64(l.o.Rate), l.o.Burst, float64(share), burst)
}

var errClosed = errors.New("fleet: the Limiter is closed")

// Close ends the Limiter's use of Redis, and its goroutine. Callers who wait,
// and those to come, are served from the local share. It returns nil.
func (l *Limiter) Close() error {
	l.queue.Update(func(_ int, now time.Time) bool {
		l.tokens.closed = true
		l.tokens.lose(errClosed, now)
		return true
	})
	l.redis.stop()
	l.fetcher.Wait()
	return nil
}
