package retry

import "log/slog"

// State returns what the budget has left, for [turret.Inspect]. Without a budget
// there is nothing to tell.
func (s *service[Req, Resp]) State() slog.Attr {
	if s.budget == nil {
		return slog.Group("retry")
	}
	return slog.Group("retry", slog.Float64("budget_left", s.budget.Left()))
}
