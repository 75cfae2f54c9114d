package turret

import "context"

type attemptKey struct{}

// Attempt returns which attempt of the nearest retry above this is: 1 for the
// first, and where there is no retry.
func Attempt(ctx context.Context) int {
	if n, ok := ctx.Value(attemptKey{}).(int); ok {
		return n
	}
	return 1
}

// WithAttempt returns ctx for attempt n, counted from 1. It is for layers that
// call more than once. A ctx that says n already is returned as it is, so that
// a first attempt costs nothing.
func WithAttempt(ctx context.Context, n int) context.Context {
	if Attempt(ctx) == n {
		return ctx
	}
	return context.WithValue(ctx, attemptKey{}, n)
}
