package buffer

import (
	"container/list"
	"context"
	"runtime"
	"time"

	"github.com/turretgo/turret"
)

// request is a call on its way through the worker.
type request[Req, Resp any] struct {
	ctx context.Context
	req Req

	line   *list.List // where it stands; nil once taken. Guarded by the worker's mu.
	place  *list.Element
	served bool // the handler got it; guarded likewise

	done     chan struct{} // closed when the rest is final
	resp     Resp
	err      error
	returned bool // else the handler panicked, or ended its goroutine
	panicked any
}

// result ends the call as the handler did: it returns, panics, or exits the
// goroutine.
func (r *request[Req, Resp]) result() (Resp, error) {
	switch {
	case r.returned:
		return r.resp, r.err
	case r.panicked != nil:
		panic(r.panicked)
	}
	runtime.Goexit()
	return r.resp, r.err
}

// enter puts r, which came through b, in the queue, or where there is no room,
// outside of it.
func (w *worker[Req, Resp]) enter(b *Buffer[Req, Resp], r *request[Req, Resp]) (outside bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch err := w.refuses(b); {
	case err != nil:
		return false, err
	case w.hasRoom():
		w.queueUp(r)
		return false, nil
	default:
		r.line, r.place = &w.outside, w.outside.PushBack(r)
		return true, nil
	}
}

// refuses returns the error of a call made through b now, if it has no chance.
func (w *worker[Req, Resp]) refuses(b *Buffer[Req, Resp]) error {
	switch {
	case w.refusal != nil:
		return w.refusal
	case b.closed:
		return &ClosedError{}
	case w.patience == 0 && !w.hasRoom():
		return w.full
	}
	return nil
}

// hasRoom counts the request at the handler: who comes to an idle worker takes
// nobody's room, even before the worker is there to take it.
func (w *worker[Req, Resp]) hasRoom() bool { return w.queue.Len()+w.busy <= w.capacity }

func (w *worker[Req, Resp]) queueUp(r *request[Req, Resp]) {
	r.line, r.place = &w.queue, w.queue.PushBack(r)
	w.wake()
}

// letIn lets the first in who waits for room. It is called whenever one leaves.
func (w *worker[Req, Resp]) letIn() {
	if w.outside.Len() > 0 && w.hasRoom() {
		w.queueUp(w.first(&w.outside))
	}
}

// first takes the first request out of a line.
func (w *worker[Req, Resp]) first(line *list.List) *request[Req, Resp] {
	r := line.Remove(line.Front()).(*request[Req, Resp])
	r.line, r.place = nil, nil
	return r
}

// await waits until r is done, its caller leaves, or the worker has stopped.
func (w *worker[Req, Resp]) await(r *request[Req, Resp], outside bool) (resp Resp, err error) {
	var impatient <-chan time.Time
	if outside {
		impatient = time.After(w.patience)
	}
	for {
		select {
		case <-r.done:
		case <-r.ctx.Done():
			err = r.ctx.Err()
			w.leave(r)
		case <-w.stopped:
			err = w.leftBehind(r)
		case <-impatient:
			if !w.giveUp(r) {
				impatient = nil // it has been let in
				continue
			}
			err = w.full
		}
		if isClosed(r.done) { // an answer wins over what else happened just then
			return r.result()
		}
		report(r.ctx, err)
		return resp, err
	}
}

// report tells the call's observers that err is a refusal, if it is one.
func report(ctx context.Context, err error) {
	switch e := err.(type) {
	case *FullError:
	case *ClosedError:
		if e.UnderWay {
			return // the handler got it
		}
	default:
		return // its caller has gone
	}
	turret.Report(ctx, turret.Event{Layer: "buffer", Kind: turret.EventRefuse, Err: err})
}

// leave takes r out of line, unless the worker has taken it.
func (w *worker[Req, Resp]) leave(r *request[Req, Resp]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.line != nil {
		r.line.Remove(r.place)
		w.letIn()
	}
}

// giveUp takes r out of line if it still waits for room.
func (w *worker[Req, Resp]) giveUp(r *request[Req, Resp]) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.line != &w.outside {
		return false
	}
	r.line.Remove(r.place)
	return true
}

// leftBehind returns the error of a request that a stop left behind.
func (w *worker[Req, Resp]) leftBehind(r *request[Req, Resp]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := *w.refusal
	e.UnderWay = r.served
	if r.line != nil {
		r.line.Remove(r.place) // State is to tell of nobody who has gone
	}
	return &e
}
