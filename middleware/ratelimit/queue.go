package ratelimit

import (
	"container/list"
	"context"
	"math"
	"time"
)

// waiter is a call in a TokenBucket's queue.
type waiter struct {
	place   *list.Element
	until   time.Time     // when a token comes too late; the zero Time if never
	wake    chan struct{} // look again: you are at the head, the rate is new, or you are refused
	refused error         // guarded by the bucket's mu
}

// notYet is the delay of a waiter that is not at the head.
const notYet time.Duration = math.MaxInt64

// patience returns until when a call may wait, at the most.
func patience(ctx context.Context, now time.Time, max time.Duration) (until time.Time) {
	switch {
	case max > 0:
		until = now.Add(max)
	case max < 0:
		until = now
	}
	// A token at the very deadline would be of no use: ctx is done by then.
	if deadline, ok := ctx.Deadline(); ok && (until.IsZero() || !until.Before(deadline)) {
		until = deadline.Add(-1)
	}
	return until
}

// overdue fires when a wait has been longer than max allows. The queue's own
// reckoning refuses earlier; this is for when it is held up, as by a Ready
// that blocks.
func overdue(max time.Duration) <-chan time.Time {
	if max <= 0 || max == math.MaxInt64 {
		return nil
	}
	return time.After(max + 1) // a token at the very bound is in time
}

// fits returns nil if the nth token from now comes before until, else a refusal.
func (b *TokenBucket) fits(n int, until, now time.Time) error {
	if until.IsZero() {
		return nil
	}
	wait, left := b.tokenIn(n, now), max(until.Sub(now), 0)
	if wait > left {
		return &Error{Wait: wait, Patience: left}
	}
	return nil
}

// join puts a new waiter at the end of the queue, unless it would wait in vain.
func (b *TokenBucket) join(until time.Time) (*waiter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fits(b.queue.Len()+1, until, time.Now()); err != nil {
		return nil, err
	}
	w := &waiter{until: until, wake: make(chan struct{}, 1)}
	w.place = b.queue.PushBack(w)
	return w, nil
}

// delay returns how long w has to wait for its token: 0 if it is there, and
// notYet if there are others in front. The error is a refusal.
func (b *TokenBucket) delay(w *waiter) (time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.refused != nil {
		return 0, w.refused
	}
	if b.queue.Front() != w.place {
		return notYet, nil
	}
	return b.tokenIn(1, time.Now()), nil
}

// take takes a token for w and lets it go. It reports false if w has to look
// again.
func (b *TokenBucket) take(w *waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queue.Front() != w.place || !b.bucket.AllowN(time.Now(), 1) {
		return false
	}
	b.queue.Remove(w.place)
	b.wakeHead()
	return true
}

// refuse returns the refusal of a waiter that is overdue. Whoever tries again
// starts at the end of the queue that w leaves.
func (b *TokenBucket) refuse(w *waiter, patience time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.refused != nil {
		return w.refused
	}
	return &Error{Wait: b.tokenIn(b.queue.Len(), time.Now()), Patience: patience}
}

// refuseLate refuses all who can no longer be served in time, and so speeds up
// those behind them.
func (b *TokenBucket) refuseLate(now time.Time) {
	ahead := 0
	for place := b.queue.Front(); place != nil; {
		w := place.Value.(*waiter)
		place = place.Next()
		if w.refused = b.fits(ahead+1, w.until, now); w.refused == nil {
			ahead++
			continue
		}
		b.queue.Remove(w.place)
		w.lookAgain()
	}
}

// leave takes w out of the queue, if it is still in it.
func (b *TokenBucket) leave(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	head := b.queue.Front() == w.place
	b.queue.Remove(w.place)
	if head {
		b.wakeHead()
	}
}

func (b *TokenBucket) wakeHead() {
	if head := b.queue.Front(); head != nil {
		head.Value.(*waiter).lookAgain()
	}
}

func (w *waiter) lookAgain() {
	select {
	case w.wake <- struct{}{}:
	default: // told already, and has not looked yet
	}
}
