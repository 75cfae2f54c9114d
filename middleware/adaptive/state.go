package adaptive

import (
	"log/slog"
	"time"
)

// State returns the limit and what there is of calls, and the latencies that it
// follows, for [turret.Inspect]. A latency is 0 while unknown.
func (s *service[Req, Resp]) State() slog.Attr {
	l := s.limit
	return slog.Group("adaptive",
		slog.Int64("in_flight", l.inFlight.Load()),
		slog.Int64("limit", l.limit.Load()),
		slog.Int64("queue", l.waiting.Load()),
		slog.Duration("latency", time.Duration(l.latency.Load())),
		slog.Duration("unloaded_latency", time.Duration(l.unloaded.Load())),
	)
}
