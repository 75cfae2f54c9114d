package turret

import (
	"context"
	"slices"
)

// Builder composes a stack, layer by layer, the first named outermost.
//
// It is a value: every method returns a new Builder and leaves its receiver as
// it was, so a common beginning can be kept and continued in several ways. The
// zero Builder is an empty stack. A Builder is safe for concurrent use.
type Builder[Req, Resp any] struct {
	layers []Layer[Req, Resp]
}

// NewBuilder returns an empty Builder.
func NewBuilder[Req, Resp any]() Builder[Req, Resp] { return Builder[Req, Resp]{} }

// With returns b with layer(o) as its next layer inwards:
//
//	b = turret.With(b, retry.Layer, retry.Options{MaxAttempts: 3})
//
// It is [Builder.Use] for constructors of one argument. The types of requests
// and responses come from b, so that nobody has to spell them. What the
// constructor panics with, With panics with.
func With[Req, Resp, O any](b Builder[Req, Resp], layer func(O) Layer[Req, Resp], o O) Builder[Req, Resp] {
	if layer == nil {
		panic("turret: With needs a layer's constructor; it was given nil")
	}
	return b.Use(layer(o))
}

// Use returns b with layers added inwards, in their order. Nil ones are skipped.
func (b Builder[Req, Resp]) Use(layers ...Layer[Req, Resp]) Builder[Req, Resp] {
	b.layers = append(slices.Clip(b.layers), layers...)
	return b
}

// Layer returns the stack as one layer.
func (b Builder[Req, Resp]) Layer() Layer[Req, Resp] { return Stack(b.layers...) }

// Service wraps inner in the stack. Everything is put together here, and
// nothing during a call. It panics if inner is nil.
func (b Builder[Req, Resp]) Service(inner Service[Req, Resp]) Service[Req, Resp] {
	if inner == nil {
		panic("turret: Builder.Service: the inner service is nil; give it the service that answers at the bottom of the stack")
	}
	return b.Layer()(inner)
}

// ServiceFunc wraps a function in the stack, as Service does. It panics if fn is nil.
func (b Builder[Req, Resp]) ServiceFunc(fn func(context.Context, Req) (Resp, error)) Service[Req, Resp] {
	if fn == nil {
		panic("turret: Builder.ServiceFunc: the function is nil; give it the one that answers at the bottom of the stack")
	}
	return b.Service(ServiceFunc[Req, Resp](fn))
}
