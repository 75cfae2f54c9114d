// Package fallback answers a call by other means when the service fails: with a
// second service, such as yesterday's cache, or with a fixed value.
//
// Hystrix made it popular, and Amazon Builders' Library warns of it ("Avoiding
// fallback in distributed systems"): a fallback runs rarely, under the greatest
// load and least tested, and may fail in ways of its own. It is good where the
// second answer is worse but right: a list of recommendations that is not
// personal, a price that is an hour old. Where the fallback is as good as the
// service, call both all the time, as package balance and package failover do
// with replicas.
//
// It has no place around signing. Another key's signature is no fallback for the
// one that was asked for, and an old signature is none either.
//
// In a stack it goes above what tries to get the real answer:
//
//	fallback → timeout → retry → breaker → timeout → service
//
// Then the time limit of the whole call turns into an answer too, and leaves the
// caller's own deadline to the fallback.
package fallback

import (
	"context"
	"errors"

	"github.com/turretgo/turret"
)

// Options configure a fallback. Service must be set.
type Options[Req, Resp any] struct {
	// Service answers when the service below the layer fails. All stacks that
	// the layer is part of share it; turret.Close closes it with them.
	Service turret.Service[Req, Resp]

	// When, if set, decides which errors are fallen back for, in place of the
	// error's class. Nil is all but Permanent ones: those are answers. It is not
	// asked when the caller has gone, for then nobody waits for an answer.
	When func(err error, class turret.Class) bool

	// OnFallback, if set, is called before the fallback is, in the caller's
	// goroutine. A fallback in use hides an outage; this is where to count it.
	OnFallback func(ctx context.Context, e Event)
}

// Event is a fallback about to be called.
type Event struct {
	Err   error        // what the service said
	Class turret.Class // what it means
}

// Validate says what is wrong with o, if anything is.
func (o Options[Req, Resp]) Validate() error {
	if o.Service == nil {
		return errors.New("fallback: Service is nil; set the one that answers when the other fails, or fallback.Value")
	}
	return nil
}

// Layer falls back as o says. It panics with Validate's error if o is invalid.
//
// If the fallback fails too, the error is an [*Error] with what both said. An
// error that is not fallen back for comes back unchanged. The layer has no state.
func Layer[Req, Resp any](o Options[Req, Resp]) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	if o.When == nil {
		o.When = unlessPermanent
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return &service[Req, Resp]{next, o, []any{next, o.Service}}
	}
}

func unlessPermanent(_ error, class turret.Class) bool { return class != turret.Permanent }

type service[Req, Resp any] struct {
	next  turret.Service[Req, Resp]
	o     Options[Req, Resp]
	below []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	resp, err := s.next.Call(ctx, req)
	if err == nil {
		return resp, nil
	}
	class := turret.Outcome(ctx, err)
	if ctx.Err() != nil || !s.o.When(err, class) {
		return resp, err
	}
	if s.o.OnFallback != nil {
		s.o.OnFallback(ctx, Event{err, class})
	}
	turret.Report(ctx, turret.Event{Layer: "fallback", Kind: turret.EventFallBack, Err: err})
	resp, second := s.o.Service.Call(ctx, req)
	if second == nil {
		return resp, nil
	}
	return resp, &Error{err, second, [2]turret.Class{class, turret.Outcome(ctx, second)}}
}

// Ready refuses on behalf of the service where its refusal is not fallen back
// for. Otherwise any one of the two is enough, as of any fan-out.
func (s *service[Req, Resp]) Ready() error {
	err := turret.Ready(s.next)
	if err == nil || s.o.When(err, turret.Classify(err)) {
		return nil
	}
	return err
}

func (s *service[Req, Resp]) String() string { return "fallback" }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }

// Value returns a service that answers every request with resp:
//
//	fallback.Options[User, []Book]{Service: fallback.Value[User](bestsellers)}
//
// All callers get the same one, so nobody may change what it points to.
func Value[Req, Resp any](resp Resp) turret.Service[Req, Resp] {
	return &value[Req, Resp]{resp}
}

type value[Req, Resp any] struct{ resp Resp }

func (v *value[Req, Resp]) Call(context.Context, Req) (Resp, error) { return v.resp, nil }
func (v *value[Req, Resp]) String() string                          { return "value" }
