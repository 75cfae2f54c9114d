package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/timeout"
	"github.com/turretgo/turret/signer"
)

// Layer tells of each call that goes through it, of what the layers below do
// about it, and of the state that they are in. It is the outermost layer of a
// stack, with [AttemptLayer] as the innermost; a signer.Builder's stack has both
// from [Instrument]. It panics with Validate's error if o is invalid.
//
// The layer changes nothing: requests, responses, errors and panics pass
// through. The state of the stack is observed until [turret.Close] closes it;
// calls are told of even after that. What was not there when the layer was put
// around the stack, such as a service that package reconnect has yet to make, is
// observed where its gauges are those of a layer that was.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	t := newTelemetry(o)
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		s := &caller[Req, Resp]{t: t, next: next, below: []any{next}}
		s.observed = t.states.add(next)
		return s
	}
}

// AttemptLayer tells of each call that reaches the service itself: it is the
// innermost layer of a stack, below all that may call again. Its span is the
// parent of those that the service makes by the same context. It panics with
// Validate's error if o is invalid.
//
// The layer changes nothing, and has no state.
func AttemptLayer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	t := newTelemetry(o)
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return &attempter[Req, Resp]{t, next, []any{next}}
	}
}

// caller is around a stack.
type caller[Req, Resp any] struct {
	t        *telemetry
	next     turret.Service[Req, Resp]
	below    []any
	observed *stack // nil for one whose place a caller further up has taken
}

func (s *caller[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	if s.observed == nil {
		return s.next.Call(ctx, req)
	}
	ctx, m := s.t.calls.begin(ctx, "")
	returned := false
	defer func() {
		m.end(ctx, ended(ctx, returned, err), func() []attribute.KeyValue { return describe(s.t, req, resp, err) })
	}()
	resp, err = s.next.Call(s.t.observe(ctx, m.span), req)
	returned = true
	return resp, err
}

func (s *caller[Req, Resp]) Unwrap() []any { return s.below }

// String is empty for one that does nothing, so that Describe leaves it out.
func (s *caller[Req, Resp]) String() string {
	if s.observed == nil {
		return ""
	}
	return s.t.String()
}

// Close ends the observation of the stack's state.
func (s *caller[Req, Resp]) Close() error {
	if s.observed != nil {
		s.t.states.remove(s.observed)
	}
	return nil
}

// attempter is around a service.
type attempter[Req, Resp any] struct {
	t     *telemetry
	next  turret.Service[Req, Resp]
	below []any
}

func (s *attempter[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	replica := turret.Replica(ctx)
	ctx, m := s.t.attempts.begin(ctx, replica)
	returned := false
	defer func() {
		m.end(ctx, ended(ctx, returned, err), func() []attribute.KeyValue {
			attrs := describe(s.t, req, resp, err)
			attrs = append(attrs, keyAttempt.Int(turret.Attempt(ctx)))
			return addText(attrs, keyReplica, replica)
		})
	}()
	resp, err = s.next.Call(ctx, req)
	returned = true
	return resp, err
}

func (s *attempter[Req, Resp]) String() string { return s.t.String() + ", attempts" }
func (s *attempter[Req, Resp]) Unwrap() []any  { return s.below }

func ended(ctx context.Context, returned bool, err error) outcome {
	switch {
	case !returned:
		return panicked
	case err == nil:
		return ok
	}
	class := turret.Outcome(ctx, err)
	if class == turret.Canceled && timeout.Expired(ctx) { // the service did not answer in time
		class = turret.Transient
	}
	return failed(class)
}

// describe returns what a span tells of a signature: which key made it, and how.
// The message and the signature are nobody's business.
func describe[Req, Resp any](t *telemetry, req Req, resp Resp, err error) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 8)
	if req, ok := any(req).(signer.Request); ok {
		attrs = addText(attrs, keyAlgorithm, string(req.Algorithm))
		attrs = addText(attrs, keyMessageType, string(req.MessageType))
	}
	if resp, ok := any(resp).(signer.Response); ok {
		attrs = addText(attrs, keyKeyID, resp.KeyID)
	}
	return t.addErrorText(attrs, err)
}

func (t *telemetry) addErrorText(attrs []attribute.KeyValue, err error) []attribute.KeyValue {
	if err == nil || t.ErrorText == nil {
		return attrs
	}
	return addText(attrs, keyErrorText, t.ErrorText(err))
}
