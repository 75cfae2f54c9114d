package reconnect

import (
	"log/slog"
	"time"
)

// State returns whether there is a connection and, where there is none, how often
// connecting failed in a row and when it may be tried again, for [turret.Inspect].
func (s *service[Req, Resp]) State() slog.Attr {
	c := s.current.Load()
	s.mu.Lock()
	failures, wait := s.backoff.failures, max(0, time.Until(s.backoff.until))
	s.mu.Unlock()
	if c != nil && c.worked.Load() {
		failures = 0 // which the backoff need not know before it breaks
	}
	return slog.Group("reconnect",
		slog.Bool("connected", c != nil),
		slog.Int64("failures", int64(failures)),
		slog.Duration("connect_in", wait),
	)
}
