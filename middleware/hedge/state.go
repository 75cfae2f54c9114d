package hedge

import "log/slog"

// State returns how long a call may take now before it is hedged, 0 while that is
// not known, and what the budget has left, for [turret.Inspect].
func (s *service[Req, Resp]) State() slog.Attr {
	delay, known := s.delay()
	if !known {
		delay = 0
	}
	return slog.Group("hedge",
		slog.Duration("delay", delay),
		slog.Float64("budget_left", s.Budget.Left()),
	)
}

// Left returns how many hedges the budget has now.
func (b *Budget) Left() float64 { return float64(b.balance.Load()) / budgetUnits }
