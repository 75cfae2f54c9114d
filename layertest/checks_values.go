package layertest

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
)

func (tr *trial[Req, Resp]) passesValues() {
	var current atomic.Int64
	var sent atomic.Value
	svc := &service[Req, Resp]{answer: func(_ context.Context, req Req) (Resp, error) {
		sent.Store([]Req{req})
		return tr.samples.Response(int(current.Load())), nil
	}}
	stack := tr.wrap(svc)
	for n := 1; n <= 5; n++ {
		if tr.may&MaySkip != 0 {
			stack = tr.wrap(svc) // it may remember an equal request
		}
		current.Store(int64(n))
		o, ok := tr.call(tr.ctx, stack, n)
		if !ok {
			return
		}
		if got, want := sent.Load(), tr.samples.Request(n); got == nil || !reflect.DeepEqual(got.([]Req)[0], want) {
			tr.Errorf("the caller's request was %v, and the service got %v", want, got)
		}
		if want := tr.samples.Response(n); !o.returned || o.err != nil || !reflect.DeepEqual(o.resp, want) {
			tr.Errorf("the service's response was %v, and the caller got %v", want, o)
		}
	}
}

func (tr *trial[Req, Resp]) callsOnce() {
	count := func(svc *service[Req, Resp], says string) {
		_, ok := tr.call(tr.ctx, tr.wrap(svc), 1)
		if n := svc.calls.Load(); ok && (n < 1 && tr.may&MaySkip == 0 || n > 1 && tr.may&MayRepeat == 0) {
			tr.Errorf("a call for which the service says %s reached it %d times, not once", says, n)
		}
	}
	count(tr.responding(1), "a response")
	for _, c := range []turret.Class{turret.Transient, turret.Permanent} {
		err := newFault(c)
		count(tr.failing(err), err.Error())
	}
}

type callKey struct{}

// caller returns a context that says which caller it is.
func (tr *trial[Req, Resp]) caller(n int) context.Context {
	return context.WithValue(tr.ctx, callKey{}, n)
}

func (tr *trial[Req, Resp]) keepsContextValues() {
	var got atomic.Value
	svc := tr.responding(1)
	answer := svc.answer
	svc.answer = func(ctx context.Context, req Req) (Resp, error) {
		n, _ := ctx.Value(callKey{}).(int)
		got.Store(n)
		return answer(ctx, req)
	}
	if _, ok := tr.call(tr.caller(7), tr.wrap(svc), 1); ok && got.Load() != 7 {
		tr.Errorf("a value in the caller's context is not in the service's: the layer should hand on the context that it got, or one made from it")
	}
}

func (tr *trial[Req, Resp]) keepsDeadline() {
	ctx, cancel := context.WithTimeout(tr.ctx, 2*patience)
	defer cancel()
	var missed atomic.Bool
	svc := tr.responding(1)
	answer := svc.answer
	svc.answer = func(below context.Context, req Req) (Resp, error) {
		want, _ := ctx.Deadline()
		if got, ok := below.Deadline(); !ok || got.After(want) {
			missed.Store(true)
		}
		return answer(below, req)
	}
	if _, ok := tr.call(ctx, tr.wrap(svc), 1); ok && missed.Load() {
		tr.Errorf("the caller's context has a deadline in %v, and the service's has none, or a later one", 2*patience)
	}
}

func (tr *trial[Req, Resp]) keepsCallersApart() {
	const callers = 64
	faults := make([]*fault, callers+1)
	for n := range faults {
		faults[n] = newFault(turret.Permanent) // a healthy service's answer, so that it opens no breaker
	}
	var mixedUp atomic.Int64
	stack := tr.wrap(&service[Req, Resp]{answer: func(ctx context.Context, req Req) (resp Resp, _ error) {
		n, _ := ctx.Value(callKey{}).(int)
		if !reflect.DeepEqual(req, tr.samples.Request(n)) {
			mixedUp.Add(1)
		}
		// A timer of no time, in several goroutines of a bubble, crashes the race detector of Go 1.26.
		if takes := time.Duration(n%7) * time.Millisecond; takes > 0 {
			select {
			case <-time.After(takes):
			case <-ctx.Done():
				return resp, ctx.Err()
			}
		}
		if n%4 == 1 {
			return resp, faults[n]
		}
		return tr.samples.Response(n), nil
	}})
	answered := 0
	for range 3 {
		var calls [callers + 1]<-chan outcome[Resp]
		for n := 1; n <= callers; n++ {
			ctx, cancel := context.WithCancel(tr.caller(n))
			defer cancel()
			if n%4 == 3 {
				time.AfterFunc(time.Duration(n%6)*time.Millisecond, cancel)
			}
			calls[n] = tr.begin(ctx, stack, n)
		}
		for n := 1; n <= callers; n++ {
			o, ok := tr.wait(calls[n], patience, "one of 64 calls made at once")
			if !ok {
				return
			}
			byService, ok := tr.isOwn(o, n, faults[n])
			if !ok {
				return // one says enough
			}
			if byService {
				answered++
			}
		}
	}
	if mixedUp.Load() > 0 && tr.may&MayChangeValues == 0 {
		tr.Errorf("of 64 calls made at once, three times over, %d reached the service with the request of one caller and the context of another", mixedUp.Load())
	}
	if answered == 0 {
		tr.Errorf("none of 64 calls made at once, three times over, was answered by the service")
	}
}

// isOwn checks that the nth caller got what was its own. That may be an answer
// of the service's or, as a layer may have its limits, one of the layer's.
func (tr *trial[Req, Resp]) isOwn(o outcome[Resp], n int, f *fault) (byService, ok bool) {
	want, class := tr.samples.Response(n), turret.Classify(o.err)
	alike := reflect.DeepEqual(tr.samples.Request(1), tr.samples.Request(3))
	switch {
	case !o.returned:
		tr.Errorf("one of 64 callers got %v", o)
	case tr.may&MaySkip != 0 && alike:
		return true, true // and what is another's may be its own
	case o.err != nil && class == turret.Rejected:
		return false, true
	case n%4 == 3 && o.err != nil && (class == turret.Canceled || tr.may&MayReplaceErrors != 0):
		return false, true
	case n%4 == 1 && (errors.Is(o.err, f) || tr.may&MayReplaceErrors != 0):
		return true, true
	case n%4 == 1:
		tr.Errorf("one of 64 callers should have got an error of its own, and got %v", o)
	case o.err != nil:
		tr.Errorf("one of 64 callers should have got the response %v, and got %v", want, o)
	case tr.may&MayChangeValues == 0 && !reflect.DeepEqual(o.resp, want):
		tr.Errorf("one of 64 callers should have got the response %v, and got %v: the layer mixes up its callers", want, o)
	default:
		return true, true
	}
	return false, false
}
