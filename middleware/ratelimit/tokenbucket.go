package ratelimit

import (
	"container/list"
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// TokenBucket is a [Limiter] that is a rate.Limiter with a queue in front.
//
// A rate.Limiter alone lets callers reserve tokens that are to come. One that
// goes away then gives its token back only if nobody reserved after it, and a
// new rate moves nobody who has reserved. Here nobody reserves. Callers queue,
// the head of the queue waits until there is a token, and takes it. So a caller
// can leave from any place in the queue as if it had never been there, and a
// new rate holds for all who wait.
//
// A TokenBucket is safe for concurrent use, and is to be shared where a quota
// is. It has no goroutine.
type TokenBucket struct {
	mu     sync.Mutex
	bucket *rate.Limiter // used with mu held, so that its clock never goes back
	queue  list.List     // of *waiter
}

// New returns a full bucket of burst tokens that refills at limit. The burst is
// as in [Options]: 0 is a tenth of a second's worth, and at least 1. New panics
// on what Options.Validate refuses.
func New(limit rate.Limit, burst int) *TokenBucket {
	if err := validate("the rate", limit, burst); err != nil {
		panic(err)
	}
	return &TokenBucket{bucket: rate.NewLimiter(limit, burstOr(limit, burst))}
}

// SetRate changes rate and burst, given as to [New], for those to come and for
// those who wait: a higher rate hastens them, and a lower one slows them.
// Whoever can then no longer be served in time is refused at once. The bucket
// keeps the tokens that it has, up to the new burst.
//
// It returns an error, and changes nothing, where New would panic.
func (b *TokenBucket) SetRate(limit rate.Limit, burst int) error {
	if err := validate("the rate", limit, burst); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	lower := limit < b.bucket.Limit()
	b.bucket.SetLimitAt(now, limit)
	b.bucket.SetBurstAt(now, burstOr(limit, burst))
	if lower {
		b.refuseLate(now)
	}
	b.wakeHead()
	return nil
}

// Rate returns the present rate.
func (b *TokenBucket) Rate() rate.Limit { return b.bucket.Limit() }

// Burst returns how many tokens the bucket holds when it is full.
func (b *TokenBucket) Burst() int { return b.bucket.Burst() }

// String is the bucket's part of a line in [turret.Describe].
func (b *TokenBucket) String() string {
	return fmt.Sprintf("%.6g/s, burst %d", float64(b.Rate()), b.Burst())
}

// Check returns the refusal that Wait would answer with at once, for a call
// without a deadline. It takes no token.
func (b *TokenBucket) Check(max time.Duration) error {
	if max == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	return b.fits(b.queue.Len()+1, patience(context.Background(), now, max), now)
}

// Wait takes a token, and waits for it if it must, as [Limiter] says.
func (b *TokenBucket) Wait(ctx context.Context, max time.Duration) error {
	return b.WaitReady(ctx, max, func() error { return nil })
}

// WaitReady is Wait, and calls ready before it queues and again before it takes
// a token for which it had to queue. An error of ready ends the wait, and
// leaves the token to whoever is next.
func (b *TokenBucket) WaitReady(ctx context.Context, max time.Duration, ready func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	if b.takeFree() {
		return nil
	}
	w, err := b.join(patience(ctx, time.Now(), max))
	if err != nil {
		return err
	}
	defer b.leave(w) // also when ready panics
	return b.wait(ctx, w, max, ready)
}

// takeFree takes a token that nobody waits for.
func (b *TokenBucket) takeFree() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queue.Len() == 0 && b.bucket.AllowN(time.Now(), 1)
}

// wait waits until w is at the head of the queue and there is a token, and
// takes it.
func (b *TokenBucket) wait(ctx context.Context, w *waiter, max time.Duration, ready func() error) error {
	tooLong := overdue(max)
	for {
		delay, err := b.delay(w)
		if err != nil {
			return err
		}
		if delay == 0 {
			if err := ready(); err != nil {
				return err
			}
			if b.take(w) {
				return nil
			}
			continue // a new rate came in between
		}
		var token <-chan time.Time // nil, which never comes, but for the head
		if delay != notYet {
			token = time.After(delay)
		}
		select {
		case <-token:
		case <-w.wake:
		case <-tooLong:
			return b.refuse(w, max)
		case <-ctx.Done():
		}
		// Asked apart, as a token and the end of ctx may come together; the
		// token is then for the next.
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// tokenIn returns when the bucket will hold n tokens, if nobody takes any.
func (b *TokenBucket) tokenIn(n int, now time.Time) time.Duration {
	missing := float64(n) - b.bucket.TokensAt(now)
	ns := missing / float64(b.bucket.Limit()) * float64(time.Second)
	switch {
	case ns < 1: // AllowN gives out a token that is less than a nanosecond away
		return 0
	case ns >= math.MaxInt64:
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(ns))
}
