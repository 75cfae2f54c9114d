package ratelimit

import (
	"log/slog"
	"time"

	"github.com/turretgo/turret"
)

// State returns the limiter's, under this layer's name, for [turret.Inspect]. It
// is empty where the limiter has none.
func (s *service[Req, Resp]) State() slog.Attr {
	var attrs []slog.Attr
	if l, ok := s.limiter.(turret.Stater); ok {
		attrs = groupOf(l.State())
	}
	return slog.GroupAttrs("ratelimit", attrs...)
}

func groupOf(a slog.Attr) []slog.Attr {
	if a.Value.Kind() != slog.KindGroup {
		return nil
	}
	return a.Value.Group()
}

// State returns the limiter's, which asking hides.
func (a asking) State() slog.Attr {
	if l, ok := a.Limiter.(turret.Stater); ok {
		return l.State()
	}
	return slog.Attr{}
}

// State returns the bucket's rate, its tokens, and how many calls wait for one.
func (b *TokenBucket) State() slog.Attr {
	return slog.Group("ratelimit",
		slog.Float64("rate", float64(b.Rate())),
		slog.Int64("burst", int64(b.Burst())),
		slog.Float64("tokens", b.bucket.TokensAt(time.Now())),
		slog.Int64("queue", int64(b.queue.Waiting())),
	)
}

// State is [TokenBucket.State], with the present rate.
func (a *Adaptive) State() slog.Attr { return a.bucket.State() }

// Waiting returns how many calls wait for a token.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.Len()
}
