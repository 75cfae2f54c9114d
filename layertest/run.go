package layertest

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turretgo/turret"
)

// Deviation is something that a layer does on purpose and that [Run] would
// otherwise fail it for.
type Deviation uint

const (
	// MayRepeat layers may call the service more than once for a call, as
	// retries, hedges and failovers do.
	MayRepeat Deviation = 1 << iota
	// MaySkip layers may answer a call without calling the service for it, as
	// caches and coalescing layers do.
	MaySkip
	// MayDetach layers call the service under a deadline that is not the
	// caller's, as where several callers share a call.
	MayDetach
	// MayChangeValues layers send other requests, or return other responses.
	MayChangeValues
	// MayReplaceErrors layers return something else for an error below: another
	// one, or a success, as fallbacks do. So they may be ready when what is below
	// is not.
	MayReplaceErrors
	// MayReclassify layers keep an error below, but say something else of it: its
	// class, or when to try again. What is Permanent stays so.
	MayReclassify
	// MayRecoverPanics layers return an error where the service panics.
	MayRecoverPanics
	// MayEndOnPanic layers serve no more after a panic below, or a Goexit, or not
	// at once, as when the worker ended by it that owns what is below.
	MayEndOnPanic
	// MayShareState layers share state among the services that they wrap.
	MayShareState
	// MayHideBelow layers cannot say what they wrap, as when it is made on first
	// use.
	MayHideBelow
)

// Run checks that a layer keeps what every layer owes to those around it, each
// point in a subtest. What the layer does otherwise on purpose, may says:
//
//	layertest.Run(t, retry.Layer[int, int](retry.Options{}), layertest.MayRepeat)
//
// The layer is wrapped around services of the run's own, anew for each subtest,
// inside a synctest bubble. An object that it shares among its services must
// therefore be made when it wraps, if it has channels or timers. Run makes up to
// 64 calls at once; the layer should be set up to let some of them through, and
// in all other subtests to refuse none. It may wait as it likes: time is the
// bubble's. Limits on time should be above a second.
//
// Any types of requests and responses will do; see [RunWith] for those that have
// rules. The run finds most under the race detector.
func Run[Req, Resp any](t *testing.T, layer turret.Layer[Req, Resp], may ...Deviation) {
	t.Helper()
	RunWith(t, layer, Samples[Req, Resp]{}, may...)
}

// RunWith is Run with requests and responses of the caller's own.
func RunWith[Req, Resp any](t *testing.T, layer turret.Layer[Req, Resp], s Samples[Req, Resp], may ...Deviation) {
	t.Helper()
	var all Deviation
	for _, d := range may {
		all |= d
	}
	for _, c := range checks[Req, Resp]() {
		t.Run(c.name, func(t *testing.T) {
			if all&c.unless != 0 {
				t.Skip("the layer deviates here")
			}
			c.try(t, t, layer, s, all)
		})
	}
}

// check is one subtest of a run.
type check[Req, Resp any] struct {
	name   string
	run    func(*trial[Req, Resp])
	unless Deviation // there is nothing to check in a layer that does one of these
}

func checks[Req, Resp any]() []check[Req, Resp] {
	type tr = trial[Req, Resp]
	return []check[Req, Resp]{
		{"passes requests and responses through", (*tr).passesValues, MayChangeValues},
		{"calls the service once", (*tr).callsOnce, 0},
		{"keeps context values", (*tr).keepsContextValues, 0},
		{"keeps the deadline", (*tr).keepsDeadline, MayDetach},
		{"returns soon after a cancel", (*tr).honoursCancel, 0},
		{"returns soon after the deadline", (*tr).honoursDeadline, 0},
		{"returns soon when called too late", (*tr).honoursDoneContext, 0},
		{"every wait ends with its context", (*tr).honoursCancelInACrowd, 0},
		{"inner errors are found by errors.Is", (*tr).returnsInnerErrors, MayReplaceErrors},
		{"inner errors keep their class", (*tr).keepsClass, MayReplaceErrors},
		{"inner errors keep their RetryAfter", (*tr).keepsRetryAfter, MayReplaceErrors | MayReclassify},
		{"a panic comes up in the caller", (*tr).passesPanics, 0},
		{"a Goexit comes up in the caller", (*tr).passesGoexit, 0},
		{"keeps 64 callers apart", (*tr).keepsCallersApart, 0},
		{"leaves no goroutine", (*tr).leavesNoGoroutine, 0},
		{"Describe reaches through", (*tr).describes, 0},
		{"Ready reaches through", (*tr).tellsReady, MayHideBelow | MayReplaceErrors},
		{"Close reaches through", (*tr).closes, MayHideBelow},
		{"fresh state each time it wraps", (*tr).hasFreshState, MayShareState},
		{"tells its state, if it has one", (*tr).tellsState, 0},
	}
}

// reporter is what a check needs of a *testing.T.
type reporter interface {
	Errorf(format string, args ...any)
}

// try runs the check in a bubble. T is for the bubble, r for what is found.
func (c check[Req, Resp]) try(t *testing.T, r reporter, layer turret.Layer[Req, Resp], s Samples[Req, Resp], may Deviation) {
	defer func() {
		if deadlock := recover(); deadlock != nil { // of the bubble; it would end all tests
			r.Errorf("the layer left goroutines blocked: %v", deadlock)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		tr := &trial[Req, Resp]{
			reporter: r,
			ctx:      t.Context(),
			layer:    layer,
			samples:  s.withDefaults(),
			may:      may,
			over:     make(chan struct{}),
		}
		defer tr.end()
		c.run(tr)
	})
}

// trial is a check under way.
type trial[Req, Resp any] struct {
	reporter
	ctx     context.Context
	layer   turret.Layer[Req, Resp]
	samples Samples[Req, Resp]
	may     Deviation
	over    chan struct{} // lets go of calls to a service whose context never ends
	stacks  []turret.Service[Req, Resp]
}

// end closes everything, and leaves time for what ends by itself: only a check of
// its own asks whether that was soon.
func (tr *trial[Req, Resp]) end() {
	close(tr.over)
	for _, stack := range tr.stacks {
		func() {
			defer func() { _ = recover() }() // of a layer that a check has closed already
			_ = turret.Close(stack)
		}()
	}
	<-time.After(patience)
}

// wrap puts the layer around svc.
func (tr *trial[Req, Resp]) wrap(svc *service[Req, Resp]) turret.Service[Req, Resp] {
	stack := turret.Stack(tr.layer)(svc)
	tr.stacks = append(tr.stacks, stack)
	return stack
}

// outcome is how a call ended.
type outcome[Resp any] struct {
	resp     Resp
	err      error
	returned bool
	panicked any // what with, unless it returned; nil: it ended its goroutine
	took     time.Duration
}

func (o outcome[Resp]) String() string {
	switch {
	case o.returned && o.err != nil:
		return fmt.Sprintf("the error %q", o.err)
	case o.returned:
		return fmt.Sprintf("the response %v", o.resp)
	case o.panicked != nil:
		return fmt.Sprintf("a panic with %v", o.panicked)
	}
	return "a runtime.Goexit"
}

// begin makes a call with the nth request, in a goroutine.
func (tr *trial[Req, Resp]) begin(ctx context.Context, stack turret.Service[Req, Resp], n int) <-chan outcome[Resp] {
	ended := make(chan outcome[Resp], 1)
	go func() {
		var o outcome[Resp]
		start := time.Now()
		defer func() {
			if !o.returned {
				o.panicked = recover()
			}
			o.took = time.Since(start)
			ended <- o
		}()
		o.resp, o.err = stack.Call(ctx, tr.samples.Request(n))
		o.returned = true
	}()
	return ended
}

// patience is how long a call may take by which a layer is waited for.
const patience = time.Hour

// wait waits for a call that has no reason to take long, and reports false where
// it does all the same.
func (tr *trial[Req, Resp]) wait(call <-chan outcome[Resp], limit time.Duration, what string) (o outcome[Resp], ok bool) {
	select {
	case o = <-call:
		return o, true
	case <-time.After(limit):
		tr.Errorf("%s has not returned %v later", what, limit)
		return o, false
	}
}

// call makes a call and waits for it.
func (tr *trial[Req, Resp]) call(ctx context.Context, stack turret.Service[Req, Resp], n int) (outcome[Resp], bool) {
	return tr.wait(tr.begin(ctx, stack, n), patience, "a call that the service answers at once")
}

// succeed makes a call that nothing stands against, and reports whether it was
// answered so.
func (tr *trial[Req, Resp]) succeed(stack turret.Service[Req, Resp], n int, when string) bool {
	o, ok := tr.call(tr.ctx, stack, n)
	if ok && (!o.returned || o.err != nil) {
		tr.Errorf("%s, a call that the service answers ended with %v", when, o)
		return false
	}
	return ok
}
