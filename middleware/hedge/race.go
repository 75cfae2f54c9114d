package hedge

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/turretgo/turret"
)

// race makes a call, and hedges it, until one of the calls under way decides it
// or all have failed. The losers are cancelled and left behind.
func (s *service[Req, Resp]) race(ctx context.Context, req Req, delay time.Duration) (Resp, error) {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(turret.ErrOutrun)
	r := &race[Req, Resp]{
		service: s,
		ctx:     ctx,
		running: running,
		req:     req,
		delay:   delay,
		start:   time.Now(),
		results: make(chan result[Resp], 1+s.MaxHedges), // room for all: losers have no reader
	}
	r.send()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for due := false; ; {
		select {
		case <-timer.C:
			due = true
		case res := <-r.results:
			switch {
			case res.err == nil: // a success; or a panic, which is not kept from anyone
				r.won(res)
				return res.end()
			case r.lost(res):
				return res.resp, failure(r.failed)
			}
		}
		if due && len(r.results) == 0 { // a result that is there may make a hedge needless
			due = false
			if r.hedge() {
				timer.Reset(delay)
			}
		}
	}
}

// race is one call of the layer: an original and its hedges.
type race[Req, Resp any] struct {
	*service[Req, Resp]
	ctx     context.Context // the caller's
	running context.Context // ends with the race
	req     Req
	delay   time.Duration
	start   time.Time
	results chan result[Resp]
	runners turret.Race
	sent    int
	idle    int // hedges that found every replica asked
	failed  []CallError
}

// send sends the call, the first time or once more.
func (r *race[Req, Resp]) send() {
	go run(r.runners.Join(r.running), r.next, r.req, r.sent, r.results)
	r.sent++
}

// hedge sends a hedge that is due, where it is allowed, and reports whether
// there may be another one.
func (r *race[Req, Resp]) hedge() (more bool) {
	if r.idle > 0 || r.ctx.Err() != nil || !r.Budget.Withdraw() {
		return false
	}
	r.tell(r.OnHedge, turret.EventHedge, Event{r.sent, time.Since(r.start)})
	r.send()
	return r.sent <= r.MaxHedges && fits(r.ctx, r.delay)
}

// won takes in the result that ends the race.
func (r *race[Req, Resp]) won(res result[Resp]) {
	took := time.Since(r.start)
	switch {
	case !res.returned:
	case res.call == 0:
		r.took(took)
	default:
		if !r.originalFailed() {
			// Not as long as it ran before it was cancelled: that is the delay
			// and a hedge's time, and one percentile would push up the next.
			r.took(r.delay)
		}
		r.tell(r.OnWin, turret.EventWin, Event{res.call, took})
	}
}

// tell tells a hook, which may be nil, and the call's observers.
func (r *race[Req, Resp]) tell(hook func(context.Context, Event), kind turret.EventKind, e Event) {
	if hook != nil {
		hook(r.ctx, e)
	}
	turret.Report(r.ctx, turret.Event{Layer: "hedge", Kind: kind, Count: e.Hedge, Delay: e.After})
}

// lost takes in an error, and reports whether it ends the race.
func (r *race[Req, Resp]) lost(res result[Resp]) bool {
	class := turret.Outcome(r.ctx, res.err)
	if askedNobody(res.err) && r.sent > r.idle+1 {
		r.idle++ // it asked nobody, and has nothing to say
	} else {
		r.failed = append(r.failed, CallError{res.call, res.err, class})
	}
	return len(r.failed)+r.idle == r.sent || class == turret.Permanent
}

// askedNobody reports whether all that err says is that every replica was asked
// already.
func askedNobody(err error) bool {
	if e, ok := err.(interface{ Unwrap() []error }); ok {
		several := e.Unwrap()
		return len(several) > 0 && !slices.ContainsFunc(several, func(one error) bool { return !askedNobody(one) })
	}
	return err == turret.ErrTaken || err != nil && askedNobody(errors.Unwrap(err))
}

func (r *race[Req, Resp]) originalFailed() bool {
	for _, f := range r.failed {
		if f.Hedge == 0 {
			return true
		}
	}
	return false
}
