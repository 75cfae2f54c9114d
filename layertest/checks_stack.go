package layertest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/turretgo/turret"
)

func (tr *trial[Req, Resp]) leavesNoGoroutine() {
	var mood atomic.Int32
	svc := tr.tempered(&mood)
	stack := tr.wrap(svc)
	for _, m := range []temper{well, fails, hangs} {
		mood.Store(int32(m))
		ctx, cancel := context.WithTimeout(tr.ctx, soon)
		defer cancel()
		var calls [20]<-chan outcome[Resp]
		for n := range calls {
			calls[n] = tr.begin(ctx, stack, n+1)
		}
		for _, call := range calls {
			if _, ok := tr.wait(call, patience, "one of 20 calls"); !ok {
				return
			}
		}
	}
	if err := turret.Close(stack); err != nil {
		tr.Errorf("turret.Close of the stack says: %v", err)
	}
	<-time.After(soon)
	for _, goroutine := range goroutinesLeft() {
		tr.Errorf("%v after all calls returned and turret.Close, a goroutine is left:\n%s", soon, goroutine)
	}
}

func (tr *trial[Req, Resp]) describes() {
	var mood atomic.Int32
	stack := tr.wrap(tr.tempered(&mood))
	before := turret.Describe(stack)
	if tr.may&MayHideBelow == 0 && !strings.Contains(before, serviceLine) {
		tr.Errorf("turret.Describe does not show the service below; the layer's service should return it from Unwrap() []any:\n%s", before)
	}
	for _, m := range []temper{well, fails, fails, well} {
		mood.Store(int32(m))
		if _, ok := tr.call(tr.ctx, stack, 1); !ok {
			return
		}
	}
	if after := turret.Describe(stack); after != before {
		tr.Errorf("turret.Describe changed after a few calls; a layer's String says how it is configured, not how it is:\n%s\n%s", before, after)
	}
}

func (tr *trial[Req, Resp]) tellsReady() {
	if err := turret.Ready(tr.wrap(tr.responding(1))); err != nil {
		tr.Errorf("turret.Ready says of a fresh layer around a ready service: %v", err)
	}
	down := tr.responding(1)
	down.notReady = newFault(turret.Rejected)
	if err := turret.Ready(tr.wrap(down)); !errors.Is(err, down.notReady) {
		tr.Errorf("the service below is not ready, and turret.Ready of the stack says %v; it should hand on %q", err, down.notReady)
	}
}

func (tr *trial[Req, Resp]) closes() {
	svc := tr.responding(1)
	stack := tr.wrap(svc)
	if !tr.succeed(stack, 1, "on a fresh layer") {
		return
	}
	if err := turret.Close(stack); err != nil {
		tr.Errorf("turret.Close of the stack says: %v", err)
	}
	synctest.Wait()
	if got := svc.closed.Load(); got != 1 {
		tr.Errorf("turret.Close of the stack closed the service below %d times, not once", got)
	}
	closeAgain := make(chan any, 1)
	go func() {
		defer func() { closeAgain <- recover() }()
		_ = turret.Close(stack)
	}()
	select {
	case p := <-closeAgain:
		if p != nil {
			tr.Errorf("turret.Close, called again, panics with %v", p)
		}
	case <-time.After(soon):
		tr.Errorf("turret.Close, called again, has not returned %v later", soon)
	}
}

// hasFreshState wraps two services, wears out the first, and looks for traces in
// the second.
func (tr *trial[Req, Resp]) hasFreshState() {
	var mood atomic.Int32
	first, second := tr.wrap(tr.tempered(&mood)), tr.wrap(tr.responding(1))
	fresh, ok := tr.call(tr.ctx, first, 1)
	if !ok {
		return
	}
	mood.Store(int32(fails))
	for n := range 64 {
		if _, ok := tr.call(tr.ctx, first, n+1); !ok {
			return
		}
	}
	mood.Store(int32(hangs))
	ctx, cancel := context.WithCancel(tr.ctx)
	defer cancel()
	for n := range 64 {
		tr.begin(ctx, first, n+1)
	}
	synctest.Wait()
	o, ok := tr.call(tr.ctx, second, 1)
	switch {
	case !ok:
	case !o.returned || o.err != nil:
		tr.Errorf("after many calls to one service that failed or hang, the first call to another, which works, ended with %v: the layer shares state between them", o)
	case o.took > fresh.took:
		tr.Errorf("the first call to a service took %v, and the first call to another, after many to that one, took %v: the layer shares state between them", fresh.took, o.took)
	}
}
