// Package throttle refuses calls here that the service would refuse there.
//
// A service over its quota has to receive a call, and read it, to refuse it.
// With enough calls it is busy with nothing else, and clients that are refused
// and try again see to it that there are enough. So the client stops itself:
// adaptive throttling, from the chapter "Handling Overload" of Site Reliability
// Engineering (Google, 2016). The layer remembers how many calls were requested
// of it in a moving window, and how many of them the service accepted, and
// refuses the next one with [ErrRefused] and the probability
//
//	max(0, (requests - K·accepts) / (requests + 1))
//
// What it refuses counts as requested too, so the more its callers ask, the
// greater the part it keeps from the service: that gets about K calls for each
// one that it accepts, however many more are made. With a K of 2, as it is
// unless set, the layer refuses nothing until the service refuses half.
//
// Some calls always get through, to find out when the service is well again:
// the probability never is 1, and one call goes through every Options.Probe.
//
// # What counts
//
// A call counts when it ends, by its [turret.Outcome], so that calls under way
// are not taken for refused:
//
//	accepted  success, Permanent, Transient, Unknown
//	refused   Throttled
//	neither   Canceled, Rejected
//
// A service that fails a call has accepted it; whether it is well is a
// breaker's business. A layer below that refused, and a caller who went away,
// say nothing of the service. Options.Refused decides otherwise for services
// whose overload looks like failure.
//
// # Where in the stack
//
// Below the retry, so that each attempt counts; above the rate limit, so that
// what is refused spends no token:
//
//	timeout → retry → throttle → rate limit → breaker → timeout of an attempt → service
//
// It needs no quota to be known, unlike a rate limit, and reacts to what the
// service says, unlike that; who knows the quota uses both. An adaptive rate
// limit has calls wait where this layer refuses them.
package throttle

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
)

// Layer refuses calls as o says. It panics with o.Validate's error if there is
// one.
//
// The layer makes a fresh [History] each time it wraps a service, unless o has
// one to share.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	o = o.withDefaults()
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		s := &service[Req, Resp]{Options: o, next: next, start: time.Now(), below: []any{next}}
		if s.History == nil {
			s.History = NewHistory(o.Window)
		}
		s.probe.Store(s.nextProbe())
		s.line = o.describe(s.History)
		return s
	}
}

type service[Req, Resp any] struct {
	Options
	next  turret.Service[Req, Resp]
	start time.Time
	probe atomic.Int64 // when the next call goes through come what may, since start
	line  string
	below []any
}

// There is no Ready: with the same odds, one call goes through and the next does
// not.

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	if err := s.refuse(); err != nil {
		turret.Report(ctx, turret.Event{Layer: "throttle", Kind: turret.EventRefuse, Err: err})
		var none Resp
		return none, err
	}
	resp, err := s.next.Call(ctx, req)
	s.learn(ctx, err)
	return resp, err
}

// refuse returns the refusal of a call, if it is to be refused.
func (s *service[Req, Resp]) refuse() error {
	if s.History.glance(s.K) {
		return nil
	}
	requests, accepts := s.History.Counts()
	p := probability(requests, accepts, s.K)
	switch {
	case s.Rand() >= p:
		s.probe.Store(s.nextProbe())
		return nil
	case s.isProbe():
		return nil
	}
	s.History.refused()
	return &Error{Requests: requests, Accepts: accepts, Window: s.History.window, Probability: p}
}

// probability returns that of a refusal. It is not above 0 while the service
// accepts at least one in K.
func probability(requests, accepts int64, k float64) float64 {
	return (float64(requests) - k*float64(accepts)) / float64(requests+1)
}

// isProbe reports whether a call is the one that goes through now.
func (s *service[Req, Resp]) isProbe() bool {
	due := s.probe.Load()
	return int64(time.Since(s.start)) >= due && s.probe.CompareAndSwap(due, s.nextProbe())
}

func (s *service[Req, Resp]) nextProbe() int64 {
	now := time.Since(s.start)
	return int64(now + min(s.Probe, math.MaxInt64-now))
}

// learn counts a call that has ended.
func (s *service[Req, Resp]) learn(ctx context.Context, err error) {
	if err == nil {
		s.History.accepted()
		return
	}
	switch class := turret.Outcome(ctx, err); {
	case class == turret.Canceled || class == turret.Rejected:
	case s.Refused(err, class):
		s.History.refused()
	default:
		s.History.accepted()
	}
}

func (s *service[Req, Resp]) String() string { return s.line }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }
