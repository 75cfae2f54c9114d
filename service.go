package turret

import "context"

// Service answers a request.
//
// A Service is safe for concurrent use, and returns soon after ctx is done. Its
// Resp is finished: nothing in it needs ctx any more, or closing, for a layer
// above may call twice and drop one answer. A Service keeps no reference to
// what req points to after it returned.
//
// Its errors should say what they mean: see [Class].
type Service[Req, Resp any] interface {
	Call(ctx context.Context, req Req) (Resp, error)
}

// ServiceFunc is a function as a [Service].
type ServiceFunc[Req, Resp any] func(ctx context.Context, req Req) (Resp, error)

// Call calls f.
func (f ServiceFunc[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	return f(ctx, req)
}

// String is the function's line in [Describe].
func (f ServiceFunc[Req, Resp]) String() string { return "func" }
