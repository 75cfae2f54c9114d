package layertest

import (
	"errors"
	"time"

	"github.com/turretgo/turret"
)

// eachFault has a service fail in every way, and shows what the caller gets.
func (tr *trial[Req, Resp]) eachFault(after time.Duration, show func(inner *fault, o outcome[Resp])) {
	for _, c := range faultClasses {
		inner := &fault{c, after}
		o, ok := tr.call(tr.ctx, tr.wrap(tr.failing(inner)), 1)
		if !ok {
			return
		}
		show(inner, o)
	}
}

func (tr *trial[Req, Resp]) returnsInnerErrors() {
	tr.eachFault(0, func(inner *fault, o outcome[Resp]) {
		var typed *fault
		switch {
		case !o.returned || o.err == nil:
			tr.Errorf("the service returned the error %q, and the caller got %v", inner, o)
		case !errors.Is(o.err, inner):
			tr.Errorf("the service returned the error %q, and errors.Is does not find it in the caller's, %q: wrap it with %%w, or give yours an Unwrap method", inner, o.err)
		case !errors.As(o.err, &typed):
			tr.Errorf("the service returned the error %q, and errors.As does not find its type in the caller's, %q", inner, o.err)
		}
	})
}

func (tr *trial[Req, Resp]) keepsClass() {
	tr.eachFault(0, func(inner *fault, o outcome[Resp]) {
		got := turret.Outcome(tr.ctx, o.err)
		if got != inner.class && (inner.class == turret.Permanent || tr.may&MayReclassify == 0) {
			tr.Errorf("the service's error is %v, and what the caller gets, %v, is %v: layers above would act on the wrong class", inner.class, o, got)
		}
	})
}

func (tr *trial[Req, Resp]) keepsRetryAfter() {
	const after = 3 * time.Second
	tr.eachFault(after, func(inner *fault, o outcome[Resp]) {
		if got, _ := turret.RetryAfter(o.err); got != after {
			tr.Errorf("the service's %v error asks to try again in %v, and the caller's, %v, in %v", inner.class, after, o, got)
		}
	})
}
