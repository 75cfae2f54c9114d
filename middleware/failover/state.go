package failover

import "log/slog"

// How a replica is, in State and in what observers are told.
const (
	well = "well"
	ill  = "ailing" // has failed the last times, but not often enough to be away
	away = "away"
)

// State returns a group for each replica, of how it is and how often it has failed
// in a row, for [turret.Inspect]. With Never, nothing is known of them.
func (s *service[Req, Resp]) State() slog.Attr {
	var replicas []slog.Attr
	if s.watches() {
		for _, r := range s.replicas {
			replicas = append(replicas, slog.GroupAttrs(r.name, r.readings()...))
		}
	}
	return slog.GroupAttrs("failover", replicas...)
}

func (h *health) readings() []slog.Attr {
	h.mu.Lock()
	defer h.mu.Unlock()
	how := well
	switch {
	case h.away:
		how = away
	case h.failures > 0:
		how = ill
	}
	return []slog.Attr{slog.String("health", how), slog.Int64("failures", int64(h.failures))}
}
