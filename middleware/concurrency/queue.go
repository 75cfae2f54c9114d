package concurrency

import (
	"container/list"
	"context"
	"fmt"
	"time"

	"github.com/turretgo/turret/middleware/internal/rounded"
)

// waiter is a call in a Limit's queue.
type waiter struct {
	place    *list.Element // in the queue
	admitted chan struct{} // closed when it has been given a place, under the lock
}

// acquire takes a place, and waits for it if it must. It returns how long that was.
func (l *Limit) acquire(ctx context.Context, maxQueue int, maxWait time.Duration) (waited time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if l.take() {
		return 0, nil
	}
	w, err := l.join(maxQueue)
	if w == nil {
		return 0, err
	}
	start := time.Now()
	err = l.wait(ctx, w, maxWait)
	return time.Since(start), err
}

// join puts a new waiter at the end of the queue. The waiter is nil if there is
// no room, which is an error, or if a place came free, which is none.
func (l *Limit) join(maxQueue int) (*waiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch waiting := l.queue.Len(); {
		case l.take():
			return nil, nil
		case waiting >= maxQueue:
			return nil, &Error{Max: l.Max(), Waiting: waiting}
		case waiting > 0 || l.state.CompareAndSwap(l.max, l.max|crowded):
			w := &waiter{admitted: make(chan struct{})}
			w.place = l.queue.PushBack(w)
			return w, nil
		}
		// Not full any more, so take again.
	}
}

// wait waits until w has been given a place, its patience ends, or ctx does.
func (l *Limit) wait(ctx context.Context, w *waiter, maxWait time.Duration) error {
	start := time.Now()
	var tooLong <-chan time.Time // nil, which never comes
	if maxWait > 0 {
		timer := time.NewTimer(maxWait)
		defer timer.Stop()
		tooLong = timer.C
	}
	select {
	case <-w.admitted:
	case <-tooLong:
	case <-ctx.Done():
	}
	admitted := l.quit(w)
	// Asked apart, as a place and the end of ctx may come together; the place is
	// then for the next.
	if err := ctx.Err(); err != nil {
		if admitted {
			l.release()
		}
		return fmt.Errorf("concurrency: waited %v for one of %d places: %w", rounded.Duration(time.Since(start)), l.max, err)
	}
	if !admitted {
		return &Error{Max: l.Max(), Waiting: l.Waiting(), Waited: maxWait}
	}
	return nil
}

// quit ends w's waiting and reports whether it was given a place.
func (l *Limit) quit(w *waiter) (admitted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.admitted:
		return true
	default:
		l.remove(w)
		return false
	}
}

// handOver gives a place that comes free to the head of the queue. It reports
// false if there is none any more.
func (l *Limit) handOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.queue.Front()
	if head == nil {
		return false
	}
	w := head.Value.(*waiter)
	l.remove(w)
	close(w.admitted)
	return true
}

// remove takes w out of the queue, with the lock held.
func (l *Limit) remove(w *waiter) {
	l.queue.Remove(w.place)
	if l.queue.Len() == 0 {
		l.state.And(^crowded)
	}
}
