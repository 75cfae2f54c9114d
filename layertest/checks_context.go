package layertest

import (
	"context"
	"errors"
	"testing/synctest"
	"time"

	"github.com/turretgo/turret"
)

const (
	whileUnderWay = 10 * time.Millisecond // when a call's context is ended
	soon          = time.Second           // how long a call may take from then on
)

func (tr *trial[Req, Resp]) honoursCancel() {
	ctx, cancel := context.WithCancel(tr.ctx)
	tr.honours(ctx, "cancelled", cancel)
}

func (tr *trial[Req, Resp]) honoursDeadline() {
	ctx, cancel := context.WithTimeout(tr.ctx, whileUnderWay)
	defer cancel()
	tr.honours(ctx, "past its deadline", func() {})
}

func (tr *trial[Req, Resp]) honoursDoneContext() {
	ctx, cancel := context.WithCancel(tr.ctx)
	cancel()
	tr.endsSoon(ctx, tr.begin(ctx, tr.wrap(tr.hanging()), 1), "whose context was done before it")
}

// honours ends the context of a call while the service hangs.
func (tr *trial[Req, Resp]) honours(ctx context.Context, ended string, end func()) {
	svc := tr.hanging()
	call := tr.begin(ctx, tr.wrap(svc), 1)
	<-time.After(whileUnderWay - 1)
	synctest.Wait()
	if len(call) > 0 {
		tr.Errorf("a call ended with %v while the service hung and its context was alive", <-call)
		return
	}
	end()
	if !tr.endsSoon(ctx, call, "that hung below when its context was "+ended) {
		return
	}
	<-time.After(soon)
	synctest.Wait()
	if svc.underWay.Load() > 0 {
		tr.Errorf("a call whose context was %s has returned, and left a call to the service under way, whose context did not end", ended)
	}
}

// endsSoon checks that a call whose context is done ends, and for that.
func (tr *trial[Req, Resp]) endsSoon(ctx context.Context, call <-chan outcome[Resp], which string) bool {
	o, ok := tr.wait(call, soon, "a call "+which)
	<-ctx.Done() // it may be a deadline of this instant
	switch {
	case !ok:
		return false
	case tr.may&MayReplaceErrors != 0:
	case !o.returned || o.err == nil:
		tr.Errorf("a call %s ended with %v; it should return its context's error", which, o)
	case !errors.Is(o.err, ctx.Err()):
		tr.Errorf("a call %s returned the error %q, in which errors.Is does not find %q", which, o.err, ctx.Err())
	case turret.Outcome(ctx, o.err) != turret.Canceled:
		tr.Errorf("a call %s returned the error %q, which means %v to the layers above; it should mean that the caller went away", which, o.err, turret.Outcome(ctx, o.err))
	}
	return true
}

// honoursCancelInACrowd ends calls that may be waiting in the layer.
func (tr *trial[Req, Resp]) honoursCancelInACrowd() {
	const callers = 64
	stack := tr.wrap(tr.hanging())
	var calls [callers]<-chan outcome[Resp]
	var cancels [callers]context.CancelFunc
	for n := range callers {
		var ctx context.Context
		ctx, cancels[n] = context.WithCancel(tr.caller(n + 1))
		defer cancels[n]()
		calls[n] = tr.begin(ctx, stack, n+1)
		synctest.Wait()
	}
	for n := callers - 1; n >= 0; n-- { // the last to come waits where others are before it
		cancels[n]()
		if _, ok := tr.wait(calls[n], soon, "one of 64 calls that hung, below or in the layer, when its context was cancelled,"); !ok {
			return
		}
	}
}
