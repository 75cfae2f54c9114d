package retry

import (
	"context"
	"time"

	"github.com/turretgo/turret"
)

// Policy decides after every attempt whether to make another. It has the full
// power of a retry: it sees requests, responses and errors, may retry a success,
// send another request the next time, and replace the final result.
//
// One Policy serves all calls of its layer and is safe for concurrent use. It
// bounds the attempts itself; the layer keeps it from waiting past a deadline,
// or for a caller who has gone, and shows it no panics.
type Policy[Req, Resp any] interface {
	// Retry is called after each attempt, be it a success or a failure, and
	// returns whether to make another one, and after which delay. What it leaves
	// in t is the next attempt's request or, when there is none, the result.
	Retry(ctx context.Context, t *Try[Req, Resp]) (delay time.Duration, again bool)
}

// PolicyFunc is a function as a [Policy].
type PolicyFunc[Req, Resp any] func(ctx context.Context, t *Try[Req, Resp]) (time.Duration, bool)

// Retry calls f.
func (f PolicyFunc[Req, Resp]) Retry(ctx context.Context, t *Try[Req, Resp]) (time.Duration, bool) {
	return f(ctx, t)
}

// Try is an attempt that has ended, as a [Policy] sees it.
type Try[Req, Resp any] struct {
	Attempt  int // counted from 1
	Request  Req
	Response Resp
	Err      error

	reason    error // why there is no further attempt, where one was due
	unreached bool  // refused below: costs the budget nothing
}

// PolicyLayer retries as p says. It panics if p is nil. Its errors are those of
// [Layer].
func PolicyLayer[Req, Resp any](p Policy[Req, Resp]) turret.Layer[Req, Resp] {
	if p == nil {
		panic("retry: PolicyLayer needs a policy; it was given nil")
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return &service[Req, Resp]{
			next:          next,
			policy:        p,
			seesSuccesses: true,
			line:          "retry by policy",
			below:         []any{next},
		}
	}
}
