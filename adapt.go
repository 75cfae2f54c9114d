package turret

import (
	"context"
	"errors"
)

// MapRequest returns a service that takes requests of another type and converts
// them for next. An error of convert is the call's error, and next is not called;
// if it is about the request, give it the class Permanent, or a retry above tries
// in vain. MapRequest panics if next or convert is nil, as the other adapters do.
func MapRequest[In, Req, Resp any](next Service[Req, Resp], convert func(context.Context, In) (Req, error)) Service[In, Resp] {
	mustAdapt("MapRequest", next != nil, convert != nil)
	return adapt("map request", next, func(ctx context.Context, in In) (resp Resp, err error) {
		req, err := convert(ctx, in)
		if err != nil {
			return resp, err
		}
		return next.Call(ctx, req)
	})
}

// MapResponse returns a service that converts next's responses. An error of
// convert is the call's error.
func MapResponse[Req, Resp, Out any](next Service[Req, Resp], convert func(context.Context, Resp) (Out, error)) Service[Req, Out] {
	mustAdapt("MapResponse", next != nil, convert != nil)
	return adapt("map response", next, func(ctx context.Context, req Req) (out Out, err error) {
		resp, err := next.Call(ctx, req)
		if err != nil {
			return out, err
		}
		return convert(ctx, resp)
	})
}

// MapError returns a service that converts next's errors, as to classify them:
//
//	users := turret.MapError(db, func(err error) error {
//		if errors.Is(err, sql.ErrNoRows) {
//			return turret.WithClass(err, turret.Permanent)
//		}
//		return err
//	})
//
// Convert is called for errors only and cannot make a success of one: where it
// returns nil, the error stays as it was.
func MapError[Req, Resp any](next Service[Req, Resp], convert func(error) error) Service[Req, Resp] {
	mustAdapt("MapError", next != nil, convert != nil)
	return adapt("map error", next, func(ctx context.Context, req Req) (Resp, error) {
		resp, err := next.Call(ctx, req)
		if err == nil {
			return resp, nil
		}
		if mapped := convert(err); mapped != nil {
			err = mapped
		}
		return resp, err
	})
}

// AndThen returns a service that calls first and then, with its response,
// second. Second is not called when first fails. It is ready when both are.
func AndThen[Req, Mid, Resp any](first Service[Req, Mid], second Service[Mid, Resp]) Service[Req, Resp] {
	switch {
	case first == nil:
		panic("turret: AndThen needs two services; the first that it was given is nil")
	case second == nil:
		panic("turret: AndThen needs two services; the second that it was given is nil")
	}
	return &sequence[Req, Mid, Resp]{first, second, []any{first, second}}
}

type sequence[Req, Mid, Resp any] struct {
	first  Service[Req, Mid]
	second Service[Mid, Resp]
	below  []any
}

func (s *sequence[Req, Mid, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	mid, err := s.first.Call(ctx, req)
	if err != nil {
		return resp, err
	}
	return s.second.Call(ctx, mid)
}

// Ready speaks for both, because the two below look like a fan-out from above.
func (s *sequence[Req, Mid, Resp]) Ready() error {
	return errors.Join(Ready(s.first), Ready(s.second))
}

func (s *sequence[Req, Mid, Resp]) String() string { return "and then" }
func (s *sequence[Req, Mid, Resp]) Unwrap() []any  { return s.below }

// mustAdapt panics where there is nothing to adapt, or to adapt it with: here, and
// not at the first error.
func mustAdapt(constructor string, service, function bool) {
	switch {
	case !service:
		panic("turret: " + constructor + " needs a service; it was given nil")
	case !function:
		panic("turret: " + constructor + " needs a function that converts; it was given nil")
	}
}

// adapt is a call function over a service of other types.
func adapt[In, Out any](name string, next any, call func(context.Context, In) (Out, error)) Service[In, Out] {
	return &adapter[In, Out]{ServiceFunc[In, Out](call), name, []any{next}}
}

type adapter[In, Out any] struct {
	ServiceFunc[In, Out]
	name  string
	below []any
}

func (a *adapter[In, Out]) String() string { return a.name }
func (a *adapter[In, Out]) Unwrap() []any  { return a.below }
