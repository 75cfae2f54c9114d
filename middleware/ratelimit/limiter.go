package ratelimit

import (
	"context"
	"time"
)

// Limiter hands out leave to call. It is what [Layer] waits on, and what stacks
// share to share a quota. [TokenBucket] and [Adaptive] are Limiters; a fleet's,
// which counts in one place for many processes, is another.
//
// A Limiter may have more methods, which Layer uses where it finds them:
//
//	// WaitReady is Wait, and asks ready before a call queues and again before
//	// it takes a token. Ready's error ends the wait, is returned as it is,
//	// and costs no token. Of a Limiter without WaitReady, Layer asks ready
//	// before Wait and after it, when the token is spent.
//	WaitReady(ctx context.Context, max time.Duration, ready func() error) error
//
//	// Check is what Wait would answer at once to a call without a deadline:
//	// nil, or a refusal. It takes nothing and does not block.
//	Check(max time.Duration) error
//
//	// Observe learns what became of a call that was let through. Err is nil
//	// for a success; turret.Outcome(ctx, err) says what it means otherwise.
//	Observe(ctx context.Context, err error)
//
//	// State makes it a [turret.Stater]. The attributes of its group are the
//	// layer's.
//	State() slog.Attr
//
// Layer reports refusals to the call's observers. That a call was held up, who
// holds it up reports, with a turret.EventWait of Layer "ratelimit"; a [Queue] does.
type Limiter interface {
	// Wait returns nil once the caller may make one call, which it has then
	// been counted for.
	//
	// Max bounds the wait: 0 is no bound but ctx's deadline, and a negative
	// one, NoWait, is not to wait at all. A wait that cannot end in time is
	// refused as early as that is known, with an error that is [ErrLimited], of
	// class turret.Rejected, that says in a RetryAfter method when to try
	// again where that is known; an *Error is one. When ctx ends, Wait returns
	// ctx.Err() soon. Any other error means that the limiter itself failed,
	// and carries its class.
	//
	// An error gives nothing out: what was held for the caller goes to those
	// that wait behind. Callers should be served in the order they came, so
	// that none starves. Wait is safe for concurrent use.
	Wait(ctx context.Context, max time.Duration) error
}

type readyWaiter interface {
	WaitReady(ctx context.Context, max time.Duration, ready func() error) error
}

type checker interface {
	Check(max time.Duration) error
}

type observer interface {
	Observe(ctx context.Context, err error)
}

func asReadyWaiter(l Limiter) readyWaiter {
	if w, ok := l.(readyWaiter); ok {
		return w
	}
	return asking{l}
}

// asking asks ready around a Limiter that cannot ask in between.
type asking struct{ Limiter }

func (a asking) WaitReady(ctx context.Context, max time.Duration, ready func() error) error {
	if err := ready(); err != nil {
		return err
	}
	if err := a.Wait(ctx, max); err != nil {
		return err
	}
	return ready()
}
