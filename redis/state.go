package fleet

import (
	"log/slog"
	"time"

	"github.com/turretgo/turret"
)

// State returns how the Limiter is, for [turret.Inspect]: the rate and burst that
// it keeps to now, the fleet's or its local share, which of the two, how many
// fetched tokens it holds, and how many calls wait for one. While nobody calls,
// Redis is not asked, and what is said is how it was when somebody last did.
func (l *Limiter) State() slog.Attr {
	limit, burst := l.o.share()
	var held, queue int
	var shared bool
	l.queue.Update(func(waiting int, now time.Time) bool {
		held, queue, shared = l.tokens.held(now), waiting, l.tokens.lost == nil
		return false
	})
	if shared {
		limit, burst = l.o.Rate, l.o.Burst
	}
	return slog.Group("ratelimit",
		slog.Bool("shared", shared),
		slog.Float64("rate", float64(limit)),
		slog.Int64("burst", int64(burst)),
		slog.Int64("fetched", int64(held)),
		slog.Int64("queue", int64(queue)),
	)
}

// State is that of a breaker's layer, and whether the breaker shares the fleet's:
// as for the Limiter, as of the last calls.
func (s *service[Req, Resp]) State() slog.Attr {
	local := s.local.(turret.Stater).State()
	return slog.GroupAttrs(local.Key, append(local.Value.Group(), slog.Bool("shared", s.breaker.Err() == nil))...)
}
