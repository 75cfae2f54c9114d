package buffer

import (
	"container/list"
	"runtime/debug"
	"sync"
	"time"

	"github.com/turretgo/turret"
)

// worker is a goroutine that owns a handler, and what it shares with its callers.
type worker[Req, Resp any] struct {
	handler  turret.Service[Req, Resp]
	capacity int
	patience time.Duration // of those who find no room
	full     *FullError

	mu      sync.Mutex
	news    *sync.Cond // of a request, or of the end
	started bool
	busy    int          // 1 while the handler is at a request, else 0
	queue   list.List    // who has room, first come, first served
	outside list.List    // who waits for it, likewise
	streams int          // those not closed
	refusal *ClosedError // what new calls get; nil while the worker is open

	stopped  chan struct{} // closed when nobody will be served any more
	ended    chan struct{} // closed when the handler is closed, and all is over
	closeErr error         // what closing the handler said; to be read after ended
}

func newWorker[Req, Resp any](handler turret.Service[Req, Resp], o Options) *worker[Req, Resp] {
	w := &worker[Req, Resp]{
		handler:  handler,
		capacity: o.capacity(),
		patience: o.WaitForRoom,
		full:     &FullError{o.capacity(), o.WaitForRoom},
		streams:  1,
		stopped:  make(chan struct{}),
		ended:    make(chan struct{}),
	}
	w.news = sync.NewCond(&w.mu)
	return w
}

// wake has the worker look for news, and starts it if need be.
func (w *worker[Req, Resp]) wake() {
	if !w.started {
		w.started = true
		go w.run()
	}
	w.news.Signal()
}

func (w *worker[Req, Resp]) run() {
	defer w.finish() // also after a Goexit
	for r := w.next(); r != nil; r = w.next() {
		w.serve(r)
	}
}

// next waits for a request and takes it. It returns nil when the worker is to end.
func (w *worker[Req, Resp]) next() *request[Req, Resp] {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !isClosed(w.stopped) {
		switch {
		case w.queue.Len() > 0:
			r := w.first(&w.queue)
			if r.ctx.Err() == nil {
				w.busy, r.served = 1, true
				return r
			}
			w.letIn() // its caller has gone
		case w.refusal != nil:
			w.stop(w.refusal)
		default:
			w.news.Wait()
		}
	}
	return nil
}

func (w *worker[Req, Resp]) serve(r *request[Req, Resp]) {
	defer w.settle(r)
	r.resp, r.err = w.handler.Call(r.ctx, r.req)
	r.returned = true
}

// settle hands r back to its caller. A handler that did not return stops the
// worker: in what state it is, nobody knows.
func (w *worker[Req, Resp]) settle(r *request[Req, Resp]) {
	var cause error
	if !r.returned {
		r.panicked = recover() // let out of a goroutine of ours, it would end the program
		cause = causeOf(r.panicked)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = 0
	w.letIn()
	close(r.done)
	if cause != nil {
		w.stop(&ClosedError{Cause: cause, died: true})
	}
}

// causeOf says what ended a call about which recover says this. It is called
// while the stack is still that of the panic.
func causeOf(recovered any) error {
	if recovered == nil {
		return ErrGoexit
	}
	return &PanicError{recovered, debug.Stack()}
}

// finish closes the handler. A panic of that is an error of ours.
func (w *worker[Req, Resp]) finish() {
	defer close(w.ended)
	returned := false
	defer func() {
		if !returned {
			w.closeErr = causeOf(recover())
		}
	}()
	w.closeErr = turret.Close(w.handler)
	returned = true
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
