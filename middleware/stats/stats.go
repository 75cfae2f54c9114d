// Package stats keeps account of the calls that pass through it: how many there
// were, how they ended, how long they took in the last minute, and what went
// wrong last. It is for people who look at a running process, through package
// debug or a page of their own; telemetry goes elsewhere.
//
// Latency is kept in a histogram whose buckets widen with what they hold, an
// eighth at a time, as HdrHistogram's do. A percentile is off by a sixteenth at
// most, and costs memory that does not grow: some ten kilobytes a [Recorder].
// Nothing is allocated for a call.
//
// # Where in the stack
//
// Outermost it sees what callers see. Innermost it sees the service. A
// signer.Signer has one of each already.
package stats

import (
	"context"
	"errors"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/timeout"
)

// Options configure the layer. Their zero value is ready to use.
type Options struct {
	// Recorder keeps the account. Nil is a fresh one for each service that the
	// layer wraps; one that is given is shared by all.
	Recorder *Recorder
}

// Validate returns nil: no Options are wrong.
func (o Options) Validate() error { return nil }

// Layer returns a layer that keeps account of calls, which its service tells by a
// method Stats() [Snapshot]; see [Of].
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		r := o.Recorder
		if r == nil {
			r = NewRecorder()
		}
		return &service[Req, Resp]{r, next, []any{next}}
	}
}

type service[Req, Resp any] struct {
	recorder *Recorder
	next     turret.Service[Req, Resp]
	below    []any
}

// errUnfinished is the error of a call that did not return.
var errUnfinished = errors.New("the call ended in a panic or in runtime.Goexit")

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	err = errUnfinished
	begun := s.recorder.begin()
	defer func() { s.recorder.end(ctx, begun, err) }()
	resp, err = s.next.Call(ctx, req)
	return resp, err
}

// Stats returns the account.
func (s *service[Req, Resp]) Stats() Snapshot { return s.recorder.Snapshot() }
func (s *service[Req, Resp]) String() string  { return "stats" }
func (s *service[Req, Resp]) Unwrap() []any   { return s.below }

// Of returns the account that svc keeps, if it is a service that keeps one. It
// does not look below svc; [turret.Inspect] does.
func Of(svc any) (Snapshot, bool) {
	if s, ok := svc.(interface{ Stats() Snapshot }); ok {
		return s.Stats(), true
	}
	return Snapshot{}, false
}

// begin notes that a call has begun.
func (r *Recorder) begin() time.Time {
	r.inFlight.Add(1)
	return time.Now()
}

// end notes how it ended.
func (r *Recorder) end(ctx context.Context, begun time.Time, err error) {
	r.inFlight.Add(-1)
	now := time.Now()
	if err == nil {
		r.record(now, now.Sub(begun), ok, nil)
		return
	}
	r.record(now, now.Sub(begun), result(class(ctx, err))+1, err)
}

// class is what err means to who looks at the service: one that did not answer
// within a timeout above has failed.
func class(ctx context.Context, err error) turret.Class {
	c := turret.Outcome(ctx, err)
	switch {
	case c > turret.Rejected: // somebody's own
		return turret.Unknown
	case c == turret.Canceled && timeout.Expired(ctx):
		return turret.Transient
	}
	return c
}
