package throttle

import "log/slog"

// State returns what the History remembers, and the probability with which the
// next call is refused for it, for [turret.Inspect].
func (s *service[Req, Resp]) State() slog.Attr {
	requests, accepts := s.History.Counts()
	return slog.Group("throttle",
		slog.Int64("requests", requests),
		slog.Int64("accepts", accepts),
		slog.Float64("refusal_probability", max(0, probability(requests, accepts, s.K))),
	)
}
