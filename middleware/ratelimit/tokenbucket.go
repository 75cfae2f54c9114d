package ratelimit

import (
	"context"
	"fmt"
	"math"
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
	bucket *rate.Limiter
	queue  *Queue
}

// New returns a full bucket of burst tokens that refills at limit. The burst is
// as in [Options]: 0 is a tenth of a second's worth, and at least 1. New panics
// on what Options.Validate refuses.
func New(limit rate.Limit, burst int) *TokenBucket {
	if err := validate("the rate", limit, burst); err != nil {
		panic(err)
	}
	bucket := rate.NewLimiter(limit, burstOr(limit, burst))
	return &TokenBucket{bucket: bucket, queue: NewQueue(Bucket(bucket))}
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
	b.queue.Update(func(_ int, now time.Time) (later bool) {
		later = limit < b.bucket.Limit()
		b.bucket.SetLimitAt(now, limit)
		b.bucket.SetBurstAt(now, burstOr(limit, burst))
		return later
	})
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
func (b *TokenBucket) Check(max time.Duration) error { return b.queue.Check(max) }

// Wait takes a token, and waits for it if it must, as [Limiter] says.
func (b *TokenBucket) Wait(ctx context.Context, max time.Duration) error {
	return b.queue.Wait(ctx, max)
}

// WaitReady is [Queue.WaitReady].
func (b *TokenBucket) WaitReady(ctx context.Context, max time.Duration, ready func() error) error {
	return b.queue.WaitReady(ctx, max, ready)
}

// Bucket returns l as a [Source]. While a Queue draws on it nobody else should,
// or l's clock may go back.
func Bucket(l *rate.Limiter) Source { return bucket{l} }

type bucket struct{ *rate.Limiter }

func (b bucket) Take(now time.Time) bool { return b.AllowN(now, 1) }

func (b bucket) In(n int, now time.Time) time.Duration {
	missing := float64(n) - b.TokensAt(now)
	ns := missing / float64(b.Limit()) * float64(time.Second)
	switch {
	case ns < 1: // AllowN gives out a token that is less than a nanosecond away
		return 0
	case ns >= math.MaxInt64:
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(ns))
}
