package adaptive

import (
	"context"
	"time"
)

// waiter is a call in a Limit's queue.
type waiter struct {
	admitted chan struct{} // closed with mu held, once the call has its permit
}

// acquire takes a permit, and waits for it if it must and may. It asks ready
// before it queues: whoever would be refused below need not wait for that.
// It returns how long that was.
func (l *Limit) acquire(ctx context.Context, ready func() error) (waited time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if l.waiting.Load() == 0 && l.take() {
		return 0, nil
	}
	if l.o.MaxQueue == NoQueue {
		return 0, l.refusal(0)
	}
	if err := ready(); err != nil {
		return 0, err
	}
	start := time.Now()
	err = l.wait(ctx)
	return time.Since(start), err
}

func (l *Limit) wait(ctx context.Context) error {
	w := &waiter{make(chan struct{})}
	leave, err := l.join(w)
	if err != nil {
		return err
	}
	var tooLong <-chan time.Time // nil, which never comes, where nothing but ctx bounds the wait
	if l.o.MaxWait > 0 {
		timer := time.NewTimer(l.o.MaxWait)
		defer timer.Stop()
		tooLong = timer.C
	}
	select {
	case <-w.admitted:
	case <-tooLong:
	case <-ctx.Done():
	}
	admitted := !leave()
	// Asked apart, as a permit and the end of ctx may come together; the permit
	// is then for the next.
	if err := ctx.Err(); err != nil {
		if admitted {
			l.release()
		}
		return err
	}
	if !admitted {
		return l.refusal(l.o.MaxWait)
	}
	return nil
}

// join puts w at the end of the queue. What it returns takes w out again, and
// reports false if w has been admitted.
func (l *Limit) join(w *waiter) (leave func() bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue.Len() >= l.o.MaxQueue {
		return nil, l.refusal(0)
	}
	place := l.queue.PushBack(w)
	l.waiting.Add(1)
	l.admitLocked() // a permit may have come back meanwhile
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if w.isAdmitted() {
			return false
		}
		l.queue.Remove(place)
		l.waiting.Add(-1)
		return true
	}, nil
}

// admit gives free permits to those who wait, in the order they came.
func (l *Limit) admit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.admitLocked()
}

func (l *Limit) admitLocked() {
	for l.queue.Len() > 0 && l.take() {
		w := l.queue.Remove(l.queue.Front()).(*waiter)
		l.waiting.Add(-1)
		close(w.admitted)
	}
}

func (w *waiter) isAdmitted() bool {
	select {
	case <-w.admitted:
		return true
	default:
		return false
	}
}

// ready returns nil if a call made now would be let in or may wait, else its
// refusal.
func (l *Limit) ready() error {
	waiting := l.waiting.Load()
	switch {
	case waiting == 0 && l.inFlight.Load() < l.limit.Load():
		return nil
	case waiting >= int64(l.o.MaxQueue):
		return l.refusal(0)
	}
	return nil
}

// refusal returns the error of a call that is not let in after it waited so long.
// By Little's law, limit calls end in every latency.
func (l *Limit) refusal(waited time.Duration) *Error {
	e := &Error{Limit: l.Limit(), Waiting: l.Waiting(), Waited: waited}
	e.Wait = time.Duration(l.latency.Load() * int64(e.Waiting+1) / int64(e.Limit))
	return e
}
