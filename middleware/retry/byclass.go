package retry

import (
	"context"
	"math"
	"time"

	"github.com/turretgo/turret"
)

// byClass is the policy that Options describe.
type byClass[Req, Resp any] struct{ Options }

func (p byClass[Req, Resp]) Retry(ctx context.Context, t *Try[Req, Resp]) (time.Duration, bool) {
	class := turret.Outcome(ctx, t.Err)
	after, wish := turret.RetryAfter(t.Err)
	if class == turret.Rejected && p.WaitRejected && wish {
		return p.waitOut(ctx, t, after)
	}
	if !p.retryable(t.Err, class) || p.spent(&t.reason, t.Attempt) {
		return 0, false
	}
	delay := p.Backoff.delay(t.Attempt, class)
	return max(delay, min(after, p.Backoff.Max)), true
}

// waitOut comes back when whoever refused said to, give or take some jitter, so
// that all who were refused do not come back at once.
func (p byClass[Req, Resp]) waitOut(ctx context.Context, t *Try[Req, Resp], after time.Duration) (time.Duration, bool) {
	if _, bounded := ctx.Deadline(); bounded {
		t.Attempt-- // this one does not count
	} else if p.spent(&t.reason, t.Attempt) {
		return 0, false
	}
	t.unreached = true
	jitter := p.Backoff.spread(p.Backoff.Min)
	return max(0, min(after, math.MaxInt64-jitter)) + jitter, true
}

func (p byClass[Req, Resp]) retryable(err error, class turret.Class) bool {
	switch {
	case class == turret.Canceled:
		return false
	case p.Retryable != nil:
		return p.Retryable(err, class)
	}
	return class == turret.Transient || class == turret.Throttled || class == turret.Unknown
}

// spent reports whether attempt was the last one allowed.
func (p byClass[Req, Resp]) spent(reason *error, attempt int) bool {
	if attempt < p.MaxAttempts {
		return false
	}
	if p.MaxAttempts > 1 { // else no retry was ever due
		*reason = ErrExhausted
	}
	return true
}
