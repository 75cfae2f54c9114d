package balance

import (
	"log/slog"
	"slices"
	"time"
)

// How a member is, in State and in what observers are told.
const (
	in          = "in"
	onProbation = "on probation"
)

// State returns a group for each member, for [turret.Inspect]: whether it is on
// probation, the calls under way, the latency that it is known for, 0 while there
// is none, and how often it has failed in a row.
func (b *Balancer[Req, Resp]) State() slog.Attr {
	r, tick := b.roster.Load(), b.tick(b.now())
	members := make([]slog.Attr, len(r.all))
	for i, m := range r.all {
		health := onProbation
		if slices.Contains(r.in, m) {
			health = in
		}
		e := m.latency.at(tick)
		members[i] = slog.Group(m.name,
			slog.String("health", health),
			slog.Int64("in_flight", m.calls.Load()&^(removed|drained)),
			slog.Duration("latency", time.Duration(e.average*e.weight)),
			slog.Int64("failures", int64(m.failures.Load())),
		)
	}
	return slog.GroupAttrs("balance", members...)
}
