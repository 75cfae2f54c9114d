package turret

import (
	"context"
	"fmt"
	"reflect"
)

// Layer wraps a service in another.
//
// A Layer makes fresh state each time it wraps, so one Layer value may go around
// many services. It is called once for each, when a stack is put together and
// never during a call.
type Layer[Req, Resp any] func(next Service[Req, Resp]) Service[Req, Resp]

// Stack composes layers into one. The first is outermost: it sees a call first
// and its result last. Nil layers are skipped, so a layer can be switched off
// by leaving it nil; with no layers at all, Stack's layer returns its service
// unchanged. It panics around a nil service, and where a layer returns none.
//
// A service that does not name what it wraps, such as a plain closure, gets an
// Unwrap from Stack: [Ready], [Describe] and [Close] reach through any layer.
func Stack[Req, Resp any](layers ...Layer[Req, Resp]) Layer[Req, Resp] {
	layers = append([]Layer[Req, Resp](nil), layers...)
	return func(next Service[Req, Resp]) Service[Req, Resp] {
		if next == nil {
			panic("turret: Stack: the inner service is nil; give it the service that answers at the bottom of the stack")
		}
		for i := len(layers) - 1; i >= 0; i-- {
			if layers[i] != nil {
				next = link(layers[i](next), next)
			}
		}
		return next
	}
}

// LayerFunc makes a layer of a function that gets each call and the service
// below, and is the shortest way to write one:
//
//	turret.LayerFunc("audit", func(ctx context.Context, req Req, next turret.Service[Req, Resp]) (Resp, error) {
//		resp, err := next.Call(ctx, req)
//		audit(req, err)
//		return resp, err
//	})
//
// Name is the layer's line in [Describe]. What call closes over is shared by
// every service that the layer wraps. LayerFunc panics if call is nil.
func LayerFunc[Req, Resp any](name string, call func(ctx context.Context, req Req, next Service[Req, Resp]) (Resp, error)) Layer[Req, Resp] {
	if call == nil {
		panic(fmt.Sprintf("turret: LayerFunc %q: the function is nil", name))
	}
	return func(next Service[Req, Resp]) Service[Req, Resp] {
		return &funcService[Req, Resp]{name: name, call: call, next: next, below: []any{next}}
	}
}

type funcService[Req, Resp any] struct {
	name  string
	call  func(context.Context, Req, Service[Req, Resp]) (Resp, error)
	next  Service[Req, Resp]
	below []any
}

func (s *funcService[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	return s.call(ctx, req, s.next)
}

func (s *funcService[Req, Resp]) String() string { return s.name }
func (s *funcService[Req, Resp]) Unwrap() []any  { return s.below }

// link ties svc, which a layer made around next, to next where svc does not do
// so itself.
func link[Req, Resp any](svc, next Service[Req, Resp]) Service[Req, Resp] {
	if svc == nil {
		panic(fmt.Sprintf("turret: a layer around %T returned nil; a layer returns a service", next))
	}
	if _, ok := svc.(unwrapper); ok || same(svc, next) {
		return svc
	}
	return &linked[Req, Resp]{Service: svc, below: []any{next}}
}

// linked is an opaque service with a link to what it wraps.
type linked[Req, Resp any] struct {
	Service[Req, Resp]
	below []any
}

func (l *linked[Req, Resp]) Unwrap() []any { return l.below }
func (l *linked[Req, Resp]) self() any     { return l.Service }

// same reports whether a layer gave back the very service that it got. Two
// functions cannot be compared; they count as different.
func same(a, b any) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.ValueOf(a).Comparable() && a == b
}
