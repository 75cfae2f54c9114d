// Package chaos makes calls fail on purpose: with errors, hangs, panics and
// latency, at set rates.
//
// A stack that was never seen in an outage is a guess. This layer stands in for
// the outage, in a test or, in small doses, in production: Netflix, who named the
// idea, look for weaknesses where they would show ("Chaos Engineering", Basiri
// et al., IEEE Software, 2016). Nothing turns it on by itself, and Options.When
// turns it off.
//
// Its dice are seeded, so a run repeats: a test that failed fails again.
//
// In a stack it belongs at the very bottom, where the service's own ills come
// from. Every layer above is then put to the test:
//
//	timeout → retry → breaker → timeout → recovery → chaos → service
//
// A hang ends with its context, and with nothing else. That is the point of it:
// a stack without a timeout hangs.
package chaos

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/turretgo/turret"
)

// Layer injects faults as o says. It panics with Validate's error if o is
// invalid. The layer makes fresh dice each time it wraps a service, from the
// same seed.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	if o.Err == nil {
		o.Err = ErrInjected
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return &service[Req, Resp]{next: next, o: o, dice: newDice(o.Seed), below: []any{next}}
	}
}

type service[Req, Resp any] struct {
	next  turret.Service[Req, Resp]
	o     Options
	dice  *dice
	below []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	if s.o.When != nil && !s.o.When(ctx) {
		return s.next.Call(ctx, req)
	}
	fault, delay := s.dice.roll(&s.o)
	if err := wait(ctx, delay); err != nil {
		return resp, err
	}
	switch fault {
	case fails:
		report(ctx, "error", s.o.Err)
		return resp, s.o.Err
	case hangs:
		report(ctx, "hang", nil)
		<-ctx.Done()
		return resp, ctx.Err()
	case panics:
		report(ctx, "panic", ErrPanic)
		panic(ErrPanic)
	}
	return s.next.Call(ctx, req)
}

func (s *service[Req, Resp]) String() string { return s.o.String() }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }

// report tells the call's observers which fault befalls it.
func report(ctx context.Context, name string, err error) {
	turret.Report(ctx, turret.Event{Layer: "chaos", Kind: turret.EventFault, Name: name, Err: err})
}

// fault is what befalls a call.
type fault int

const (
	none fault = iota
	fails
	hangs
	panics
)

// dice decide what befalls each call. Faults and latencies are drawn from
// streams of their own, so that a Latency changes nothing about the faults.
type dice struct {
	mu      sync.Mutex
	faults  *rand.Rand
	latency *rand.Rand
}

func newDice(seed uint64) *dice {
	return &dice{faults: rand.New(rand.NewPCG(seed, 0)), latency: rand.New(rand.NewPCG(seed, 1))}
}

func (d *dice) roll(o *Options) (befalls fault, delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o.Latency != nil {
		delay = o.Latency(d.latency)
	}
	switch roll := d.faults.Float64(); {
	case roll < o.ErrorRate:
		befalls = fails
	case roll < o.ErrorRate+o.HangRate:
		befalls = hangs
	case roll < o.ErrorRate+o.HangRate+o.PanicRate:
		befalls = panics
	}
	return befalls, delay
}

// wait waits for d, or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
