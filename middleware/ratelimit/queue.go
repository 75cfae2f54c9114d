package ratelimit

import (
	"container/list"
	"context"
	"math"
	"sync"
	"time"

	"github.com/turretgo/turret"
)

// Source is where a [Queue]'s tokens come from. The Queue calls its methods one
// at a time, with its lock held: they neither block nor call the Queue.
type Source interface {
	// Take takes a token, and reports false if there is none at now.
	Take(now time.Time) bool

	// In returns how long it is from now until the nth token that nobody has
	// taken: 0 if Take would succeed n times. Where the source cannot know, it
	// is a guess, on which callers are refused or wait; at its end the first
	// of them looks again, so that it is not to be 0 if Take would fail.
	In(n int, now time.Time) time.Duration
}

// Queue is a [Limiter] whose callers queue for the tokens of a [Source], first
// come, first served. It is what a [TokenBucket] is made of, for those who make
// a Limiter of their own. The head of the queue waits until there is a token,
// and takes it; nobody reserves. So a caller can leave from any place as if it
// had never been there, and news of the source hold for all who wait.
//
// It is safe for concurrent use, and has no goroutine.
type Queue struct {
	mu      sync.Mutex
	source  Source    // used with mu held
	waiting list.List // of *waiter
}

// NewQueue returns an empty queue for the tokens of s.
func NewQueue(s Source) *Queue { return &Queue{source: s} }

// Update calls f, which may change the source, between two calls of the
// source's methods. F is told how many callers wait, and reports whether tokens
// may now come later than the source has said. Whoever can then no longer be
// served in time is refused at once, and the head of the queue looks again.
func (q *Queue) Update(f func(waiting int, now time.Time) (later bool)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if f(q.waiting.Len(), now) {
		q.refuseLate(now)
	}
	q.wakeHead()
}

// Check returns the refusal that Wait would answer with at once, for a call
// without a deadline. It takes no token.
func (q *Queue) Check(max time.Duration) error {
	if max == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	return q.fits(q.waiting.Len()+1, patience(context.Background(), now, max), now)
}

// Wait takes a token, and waits for it if it must, as [Limiter] says.
func (q *Queue) Wait(ctx context.Context, max time.Duration) error {
	return q.WaitReady(ctx, max, func() error { return nil })
}

// WaitReady is Wait, and calls ready before it queues and again before it takes
// a token for which it had to queue. An error of ready ends the wait, and
// leaves the token to whoever is next. How long a call was in the queue, the
// observers of ctx are told, whatever came of it.
func (q *Queue) WaitReady(ctx context.Context, max time.Duration, ready func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	if q.takeFree() {
		return nil
	}
	start := time.Now()
	w, err := q.join(patience(ctx, start, max))
	if err != nil {
		return err
	}
	defer reportWait(ctx, start)
	defer q.leave(w) // also when ready panics
	return q.wait(ctx, w, max, ready)
}

func reportWait(ctx context.Context, start time.Time) {
	turret.Report(ctx, turret.Event{Layer: "ratelimit", Kind: turret.EventWait, Delay: time.Since(start)})
}

// takeFree takes a token that nobody waits for.
func (q *Queue) takeFree() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.Len() == 0 && q.source.Take(time.Now())
}

// wait waits until w is at the head of the queue and there is a token, and
// takes it.
func (q *Queue) wait(ctx context.Context, w *waiter, max time.Duration, ready func() error) error {
	tooLong := overdue(max)
	for {
		delay, err := q.delay(w)
		if err != nil {
			return err
		}
		if delay == 0 {
			if err := ready(); err != nil {
				return err
			}
			if q.take(w) {
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
			return q.refuse(w, max)
		case <-ctx.Done():
		}
		// Asked apart, as a token and the end of ctx may come together; the
		// token is then for the next.
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// waiter is a call in a Queue.
type waiter struct {
	place   *list.Element
	until   time.Time     // when a token comes too late; the zero Time if never
	wake    chan struct{} // look again: you are at the head, the rate is new, or you are refused
	refused error         // guarded by the queue's mu
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
func (q *Queue) fits(n int, until, now time.Time) error {
	if until.IsZero() {
		return nil
	}
	wait, left := q.source.In(n, now), max(until.Sub(now), 0)
	if wait > left {
		return &Error{Wait: wait, Patience: left}
	}
	return nil
}

// join puts a new waiter at the end of the queue, unless it would wait in vain.
func (q *Queue) join(until time.Time) (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fits(q.waiting.Len()+1, until, time.Now()); err != nil {
		return nil, err
	}
	w := &waiter{until: until, wake: make(chan struct{}, 1)}
	w.place = q.waiting.PushBack(w)
	return w, nil
}

// delay returns how long w has to wait for its token: 0 if it is there, and
// notYet if there are others in front. The error is a refusal.
func (q *Queue) delay(w *waiter) (time.Duration, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.refused != nil {
		return 0, w.refused
	}
	if q.waiting.Front() != w.place {
		return notYet, nil
	}
	return q.source.In(1, time.Now()), nil
}

// take takes a token for w and lets it go. It reports false if w has to look
// again.
func (q *Queue) take(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting.Front() != w.place || !q.source.Take(time.Now()) {
		return false
	}
	q.waiting.Remove(w.place)
	q.wakeHead()
	return true
}

// refuse returns the refusal of a waiter that is overdue. Whoever tries again
// starts at the end of the queue that w leaves.
func (q *Queue) refuse(w *waiter, patience time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.refused != nil {
		return w.refused
	}
	return &Error{Wait: q.source.In(q.waiting.Len(), time.Now()), Patience: patience}
}

// refuseLate refuses all who can no longer be served in time, and so speeds up
// those behind them.
func (q *Queue) refuseLate(now time.Time) {
	ahead := 0
	for place := q.waiting.Front(); place != nil; {
		w := place.Value.(*waiter)
		place = place.Next()
		if w.refused = q.fits(ahead+1, w.until, now); w.refused == nil {
			ahead++
			continue
		}
		q.waiting.Remove(w.place)
		w.lookAgain()
	}
}

// leave takes w out of the queue, if it is still in it.
func (q *Queue) leave(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	head := q.waiting.Front() == w.place
	q.waiting.Remove(w.place)
	if head {
		q.wakeHead()
	}
}

func (q *Queue) wakeHead() {
	if head := q.waiting.Front(); head != nil {
		head.Value.(*waiter).lookAgain()
	}
}

func (w *waiter) lookAgain() {
	select {
	case w.wake <- struct{}{}:
	default: // told already, and has not looked yet
	}
}
