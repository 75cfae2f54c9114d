package turret

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
)

// CallAllOptions configure [CallAll]. The zero CallAllOptions are ready to use.
type CallAllOptions struct {
	// MaxInFlight bounds the requests that were taken from the input and not
	// answered to the consumer yet: the calls under way, and the answers that
	// wait for their turn. 0 means 16; a million is the most.
	MaxInFlight int

	// Unordered yields every answer as soon as it is there. Otherwise answers
	// come in the order of the requests, and a slow one holds up those behind it.
	Unordered bool
}

// mostInFlight bounds MaxInFlight, for which there is room made beforehand.
const mostInFlight = 1_000_000

// Validate says what is wrong with o, if anything is.
func (o CallAllOptions) Validate() error {
	switch {
	case o.MaxInFlight < 0:
		return fmt.Errorf("turret: CallAllOptions.MaxInFlight is %d; it must be at least 1, or 0 for the default of 16", o.MaxInFlight)
	case o.MaxInFlight > mostInFlight:
		return fmt.Errorf("turret: CallAllOptions.MaxInFlight is %d; it is %d at the most", o.MaxInFlight, mostInFlight)
	}
	return nil
}

// Answer is what became of one request of a [CallAll].
type Answer[Req, Resp any] struct {
	Index    int // the request's place in the input, counted from 0
	Request  Req
	Response Resp
}

// CallAll calls svc for every request of an input, several at a time, and yields
// each one's answer with its error:
//
//	for a, err := range turret.CallAll(ctx, svc, slices.Values(reqs), turret.CallAllOptions{}) {
//		if err != nil {
//			log.Printf("request %d: %v", a.Index, err)
//			continue
//		}
//		use(a.Request, a.Response)
//	}
//
// Every request that was taken from the input has exactly one answer, unless the
// consumer breaks off. An error of one call ends no other. If ctx ends before
// the input does, the last pair yielded is of no request: its Index is -1, its
// error ctx's. So whoever looks at every error knows whether that was all.
//
// The input runs in a goroutine of its own, and may block: calls under way end
// and are answered meanwhile, and nothing of svc is held for the request to
// come. Each next request is taken only when there is room to call for it, which
// is so while the consumer looks at an answer.
//
// A consumer that breaks off cancels the calls under way. However the loop is
// left, they have returned then, and so has the input. A panic of either, or a
// runtime.Goexit, comes up in the loop. But an input that blocks cannot be
// interrupted: the loop waits for it to yield or to return until ctx ends, and
// leaves its goroutine behind then, to end when the input moves. So an input that
// may block for long should watch ctx itself.
//
// CallAll panics if svc or reqs is nil, or o is invalid. It does nothing until it
// is ranged over, and begins anew each time.
func CallAll[Req, Resp any](ctx context.Context, svc Service[Req, Resp], reqs iter.Seq[Req], o CallAllOptions) iter.Seq2[Answer[Req, Resp], error] {
	switch {
	case svc == nil:
		panic("turret: CallAll needs a service; it was given nil")
	case reqs == nil:
		panic("turret: CallAll needs a sequence of requests; it was given nil")
	}
	if err := o.Validate(); err != nil {
		panic(err)
	}
	room := cmp.Or(o.MaxInFlight, 16)
	return func(yield func(Answer[Req, Resp], error) bool) {
		c := &callAll[Req, Resp]{
			svc:       svc,
			caller:    ctx,
			unordered: o.Unordered,
			places:    make(chan struct{}, room),
			answers:   make(chan *pending[Req, Resp], room),
			inputDone: make(chan struct{}),
		}
		c.ctx, c.cancel = context.WithCancel(ctx)
		defer c.end()
		go c.read(reqs)
		c.answer(yield)
	}
}

// callAll is one loop over a CallAll.
type callAll[Req, Resp any] struct {
	svc         Service[Req, Resp]
	caller, ctx context.Context // ctx is the calls', and ends with the loop too
	cancel      context.CancelFunc
	unordered   bool

	places  chan struct{}            // an element for each request that may be, or was, taken and is not yielded
	answers chan *pending[Req, Resp] // in the order to yield them; places bound it, so sending never blocks
	calls   sync.WaitGroup

	pulling   atomic.Bool // the input was asked for a request, and may block
	taken     int         // how many it gave; changed only before ctx ends, and while not pulling
	inputDone chan struct{}
	input     ending // valid when inputDone
	exhausted bool   // valid when inputDone: there are no more requests
}

// pending is a call, and its answer when it has ended.
type pending[Req, Resp any] struct {
	Answer[Req, Resp]
	err   error
	how   ending
	ended chan struct{}
}

// answer yields answers until there are no more, in the consumer's goroutine.
func (c *callAll[Req, Resp]) answer(yield func(Answer[Req, Resp], error) bool) {
	given := 0
	for open := true; open; {
		select {
		case p := <-c.answers:
			given++
			if !c.give(p, yield) {
				return
			}
		case <-c.inputDone:
			open = false
		case <-c.ctx.Done():
			open = false
		}
	}
	inputEnded := c.settleInput()
	for ; given < c.taken; given++ {
		if !c.give(<-c.answers, yield) {
			return
		}
	}
	if inputEnded {
		c.input.passOn()
	}
	if !inputEnded || !c.exhausted {
		yield(Answer[Req, Resp]{Index: -1}, c.caller.Err())
	}
}

// give yields one answer. Its place is free before the consumer has it, so that
// the next call need not wait for the consumer.
func (c *callAll[Req, Resp]) give(p *pending[Req, Resp], yield func(Answer[Req, Resp], error) bool) bool {
	<-p.ended
	<-c.places
	p.how.passOn()
	return yield(p.Answer, p.err)
}

// end leaves nothing behind but an input that blocks beyond the caller's ctx.
func (c *callAll[Req, Resp]) end() {
	c.cancel()
	c.settleInput()
	c.calls.Wait()
}

// settleInput waits for an input that is done, or told by its context to stop,
// and reports whether it ended. No call begins afterwards.
func (c *callAll[Req, Resp]) settleInput() (ended bool) {
	if !c.pulling.Load() {
		<-c.inputDone
		return true
	}
	select {
	case <-c.inputDone:
		return true
	case <-c.caller.Done():
		return false
	}
}

// read takes requests from the input and starts their calls.
func (c *callAll[Req, Resp]) read(reqs iter.Seq[Req]) {
	defer close(c.inputDone)
	defer c.pulling.Store(false)
	c.input.of(func() {
		if !c.takePlace() {
			return
		}
		for req := range reqs {
			// The order matters: once settleInput has seen pulling, after the end
			// of ctx, no call is started here.
			c.pulling.Store(false)
			if c.ctx.Err() != nil {
				return
			}
			c.start(req)
			if !c.takePlace() {
				return
			}
		}
		// Else the input may have ended for that. The caller's context ends a moment
		// before the calls' does, and the input may have seen it.
		c.exhausted = c.caller.Err() == nil && c.ctx.Err() == nil
	})
}

// takePlace waits for room for a call, and reports false if there is to be none.
func (c *callAll[Req, Resp]) takePlace() bool {
	select {
	case c.places <- struct{}{}:
	case <-c.ctx.Done():
		return false
	}
	c.pulling.Store(true)
	if c.ctx.Err() != nil {
		c.pulling.Store(false)
		return false
	}
	return true
}

// start calls for the next request, in a goroutine.
func (c *callAll[Req, Resp]) start(req Req) {
	p := &pending[Req, Resp]{ended: make(chan struct{})}
	p.Index, p.Request = c.taken, req
	c.taken++
	if !c.unordered {
		c.answers <- p
	}
	c.calls.Go(func() {
		defer func() {
			close(p.ended)
			if c.unordered {
				c.answers <- p
			}
		}()
		p.how.of(func() { p.Response, p.err = c.svc.Call(c.ctx, req) })
	})
}

// ending is how a function ended in a goroutine of ours, where a panic would end
// the program.
type ending struct {
	returned bool
	panicked any
}

// of calls f and lets no panic out.
func (e *ending) of(f func()) {
	defer func() {
		if !e.returned {
			e.panicked = recover()
		}
	}()
	f()
	e.returned = true
}

// passOn ends as the function did: it returns, panics, or exits the goroutine.
func (e *ending) passOn() {
	switch {
	case e.returned:
	case e.panicked != nil:
		panic(e.panicked)
	default:
		runtime.Goexit()
	}
}
