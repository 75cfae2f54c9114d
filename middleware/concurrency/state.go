package concurrency

import "log/slog"

// State returns how many places are taken, of how many, and how many calls wait
// for one, for [turret.Inspect].
func (s *service[Req, Resp]) State() slog.Attr {
	return slog.Group("concurrency",
		slog.Int64("in_flight", int64(s.limit.InUse())),
		slog.Int64("limit", s.limit.max),
		slog.Int64("queue", int64(s.limit.Waiting())),
	)
}
