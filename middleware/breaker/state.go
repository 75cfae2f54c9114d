package breaker

import (
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"
)

// State returns how the breaker is, for [turret.Inspect]: the state that a call
// made now would find, when an open one is half-open, and what was counted.
func (s *service[Req, Resp]) State() slog.Attr {
	return slog.GroupAttrs("breaker", s.breaker.readings()...)
}

func (b *Breaker) readings() []slog.Attr {
	state, wait := b.now()
	c := b.Counts()
	var attrs []slog.Attr
	if b.name != "" {
		attrs = append(attrs, slog.String("name", b.name))
	}
	return append(attrs,
		slog.String("state", state.String()),
		slog.Duration("half_open_in", wait),
		slog.Int64("requests", int64(c.Requests)),
		slog.Int64("failures", int64(c.TotalFailures)),
		slog.Int64("consecutive_failures", int64(c.ConsecutiveFailures)),
	)
}

// now returns the state, and how long an open breaker is still open.
func (b *Breaker) now() (gobreaker.State, time.Duration) {
	p := b.phase()
	if p == nil {
		return gobreaker.StateClosed, 0
	}
	if p.state == gobreaker.StateOpen {
		if wait := time.Until(p.until); wait > 0 {
			return gobreaker.StateOpen, wait
		}
	}
	return gobreaker.StateHalfOpen, 0
}
