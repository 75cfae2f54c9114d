package coalesce

import "log/slog"

// State returns how many shared calls are under way that may be joined, for
// [turret.Inspect].
func (s *service[K, Req, Resp]) State() slog.Attr {
	s.mu.Lock()
	flights := len(s.flights)
	s.mu.Unlock()
	return slog.Group("coalesce", slog.Int64("flights", int64(flights)))
}
