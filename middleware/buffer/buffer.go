// Package buffer gives a service to a worker: one goroutine that owns it, and
// serves the requests of all callers one at a time, in the order in which they
// came.
//
// It is for what bears only one operation at a time and often knows no context:
// a smart card, a session of PKCS #11, a connection with a protocol of question
// and answer. The service, called the handler here, need not be safe for
// concurrent use. Its Call and its Close run in the worker's goroutine and
// nowhere else, so a handler tied to a thread can lock it in its first Call. Only
// its Ready and String, if it has them, are called from elsewhere.
//
// A caller leaves as soon as its context ends. If its request was still queued,
// the handler never sees it, and its place is free. If the handler was at it, the
// worker stays busy until the handler returns, and the result goes to nobody.
// Then the handler still reads what the request points to: where callers reuse
// such memory, copy it above the buffer, as with [turret.MapRequest].
//
// A worker can have many streams of requests, each with an owner who ends it
// when done: see [Buffer.Clone]. The last to go ends the worker.
//
// The idea is Tower's Buffer, and the socket workers of Fuchsia's Netstack3. In
// a stack it stands right above the service, below the timeout of an attempt:
//
//	retry → rate limit → breaker → timeout of an attempt → buffer → service
//
// The worker starts with the first call and lives until it is closed: a stack
// with a buffer that was called and is never closed leaves a goroutine behind.
package buffer

import (
	"context"

	"github.com/turretgo/turret"
)

// Layer gives the service that it wraps to a worker, as [New] does: a fresh one
// each time. Who has the stack ends the worker with [turret.Close], which also
// closes what is below. It panics with Validate's error if o is invalid.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] { return New(next, o) }
}

// New gives handler to a worker of its own and returns the worker's first
// stream. It panics if handler is nil or o is invalid.
//
// Handler belongs to the worker from then on. When that ends, for whatever
// reason, it closes the handler with [turret.Close], once.
func New[Req, Resp any](handler turret.Service[Req, Resp], o Options) *Buffer[Req, Resp] {
	if handler == nil {
		panic("buffer: New needs a handler; it was given nil")
	}
	if err := o.Validate(); err != nil {
		panic(err)
	}
	return &Buffer[Req, Resp]{worker: newWorker(handler, o), line: o.String(), below: []any{turret.Owned(handler)}}
}

// Buffer is a stream of requests to a worker. It is safe for concurrent use.
type Buffer[Req, Resp any] struct {
	worker *worker[Req, Resp]
	line   string
	below  []any
	closed bool // guarded by the worker's mu
	last   bool // closing this one ended the worker; guarded likewise
}

// Call has the worker's handler serve req, and returns what that says, or
// earlier when ctx is done. The handler's context is ctx, but ends when Call
// returns.
//
// A panic of the handler, or a runtime.Goexit, comes up in the caller whose
// request it was, unless that has gone; it ends the worker.
func (b *Buffer[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	if err := ctx.Err(); err != nil {
		return resp, err
	}
	ctx, leave := context.WithCancel(ctx) // tells the handler, also after Abort
	defer leave()
	r := &request[Req, Resp]{ctx: ctx, req: req, done: make(chan struct{})}
	outside, err := b.worker.enter(b, r)
	if err != nil {
		report(ctx, err)
		return resp, err
	}
	return b.worker.await(r, outside)
}

// Clone returns another stream to the same worker. A clone of a closed stream is
// closed.
func (b *Buffer[Req, Resp]) Clone() *Buffer[Req, Resp] { return b.worker.clone(b) }

// Close ends this stream: calls made through it from now on are refused with
// ErrClosed, and those made before are served.
//
// Closing the last stream ends the worker. Close then waits until every call has
// been served and the handler is closed, and returns what the handler's Close
// said. Who cannot wait for a handler that hangs uses Shutdown or Abort. The
// handler itself must not call Close.
func (b *Buffer[Req, Resp]) Close() error {
	if !b.worker.closeStream(b) {
		return nil
	}
	<-b.worker.ended
	return b.worker.closeErr
}

// Shutdown ends the worker, whatever streams it has: it refuses new calls, waits
// until those made before are served and the handler is closed, and returns what
// the handler's Close said. When ctx ends first, Shutdown aborts the rest and
// returns ctx's error.
func (b *Buffer[Req, Resp]) Shutdown(ctx context.Context) error {
	b.worker.drain()
	select {
	case <-b.worker.ended:
	case <-ctx.Done():
		b.worker.abort(context.Cause(ctx))
		if !isClosed(b.worker.ended) {
			return ctx.Err()
		}
	}
	return b.worker.closeErr
}

// Abort ends the worker, whatever streams it has: every call, queued, under way
// or new, gets ErrClosed with cause, which may be nil. It waits for nothing. The
// handler is closed as soon as it returns from the request that it is at, whose
// context ends; Shutdown can be used to wait for that.
func (b *Buffer[Req, Resp]) Abort(cause error) { b.worker.abort(cause) }

// Ready returns the error that a call would be refused with now, if it would. It
// speaks for what is below as well.
func (b *Buffer[Req, Resp]) Ready() error {
	if err := b.worker.ready(b); err != nil {
		return err
	}
	return turret.Ready(b.worker.handler)
}

func (b *Buffer[Req, Resp]) String() string { return b.line }

// Unwrap shows Describe the handler, but lets nobody close it: that is the
// worker's to do.
func (b *Buffer[Req, Resp]) Unwrap() []any { return b.below }
