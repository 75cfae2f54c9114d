package layertest

import "sync/atomic"

func (tr *trial[Req, Resp]) passesPanics() {
	tr.passes(panics, func(o outcome[Resp]) {
		switch {
		case tr.may&MayRecoverPanics != 0:
			if !o.returned || o.err == nil {
				tr.Errorf("the service panicked, and the caller got %v; it should be an error", o)
			}
		case o.panicked != errPanic:
			tr.Errorf("the service panicked with %q, and the caller got %v; it should be the same panic", errPanic, o)
		}
	})
}

func (tr *trial[Req, Resp]) passesGoexit() {
	tr.passes(exits, func(o outcome[Resp]) {
		if o.returned || o.panicked != nil {
			tr.Errorf("the service ended its goroutine with runtime.Goexit, and the caller got %v; its goroutine should end too", o)
		}
	})
}

// passes has a service end badly again and again, with successes in between: a
// limit of the layer's that such an end does not give back is used up sooner or
// later, and successes keep a breaker closed.
func (tr *trial[Req, Resp]) passes(end temper, judge func(outcome[Resp])) {
	var mood atomic.Int32
	stack := tr.wrap(tr.tempered(&mood))
	for range 100 {
		mood.Store(int32(end))
		o, ok := tr.call(tr.ctx, stack, 1)
		if !ok {
			return
		}
		judge(o)
		if tr.may&MayEndOnPanic != 0 {
			return
		}
		mood.Store(int32(well))
		for range 3 {
			if !tr.succeed(stack, 2, "after "+o.String()) {
				return
			}
		}
	}
}
