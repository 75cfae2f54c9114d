package failover

import (
	"context"
	"sync"
	"time"

	"github.com/turretgo/turret"
)

// health is what is known of a replica.
type health struct {
	mu       sync.Mutex
	failures int // in a row
	away     bool
	term     int       // one more whenever it goes away or comes back
	due      time.Time // the next probe, while it is away
	probing  bool
}

func (s *service[Req, Resp]) watches() bool { return s.options.Failures > 0 }

func (s *service[Req, Resp]) isAway(r *replica[Req, Resp]) bool {
	if !s.watches() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away
}

// term is what a call remembers: what began before a replica went away, or came
// back, is old news when it ends.
func (s *service[Req, Resp]) term(r *replica[Req, Resp]) int {
	if !s.watches() {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.term
}

// news is what the end of a call says of the replica that was called.
type news uint8

const (
	nothing news = iota
	success      // it does what it is for
	answer       // it works, and said no
	ailing       // it failed, or took too long
)

func newsOf(ctx context.Context, class turret.Class, err error, inTime bool) news {
	switch {
	case err == nil:
		return success
	case class == turret.Permanent:
		return answer
	case class == turret.Rejected, class == turret.Canceled && !(inTime && tookTooLong(ctx)):
		return nothing
	}
	return ailing
}

// tookTooLong reports whether what ended a call was that it took so long: for its
// caller's deadline, or because a hedge's rival was faster. One such call says
// nothing; several in a row, and none that was in time, say enough to begin
// elsewhere.
func tookTooLong(ctx context.Context) bool {
	return ctx.Err() == context.DeadlineExceeded || context.Cause(ctx) == turret.ErrOutrun
}

// learn draws the conclusion of a call that began in the given term.
func (s *service[Req, Resp]) learn(ctx context.Context, r *replica[Req, Resp], term int, n news, err error) {
	if !s.watches() {
		return
	}
	if r.learn(term, s.options, n) {
		s.tellChange(ctx, Change{Name: r.name, Away: n == ailing, Err: err})
	}
}

// tellChange tells OnChange and the call's observers of a change.
func (s *service[Req, Resp]) tellChange(ctx context.Context, c Change) {
	if s.options.OnChange != nil {
		s.options.OnChange(c)
	}
	e := turret.Event{Layer: "failover", Kind: turret.EventChange, Name: c.Name, Err: c.Err, From: away, To: well}
	if c.Away {
		e.From, e.To = ill, away
	}
	turret.Report(ctx, e)
}

// learn reports whether the replica went away or came back.
func (h *health) learn(term int, o Options, n news) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.away
	switch {
	case term != h.term || n == nothing:
	case n == ailing:
		h.failures++
		h.away = h.failures >= o.Failures
		h.due = time.Now().Add(o.ProbeInterval)
	case n == success || !h.away: // a replica that says no to everything is no better than one that is away
		h.failures, h.away = 0, false
	}
	if h.away == was {
		return false
	}
	h.term++
	return true
}

// probe asks a replica that is away, beside a call of the same request, if it is
// time to.
func (s *service[Req, Resp]) probe(ctx context.Context, r *replica[Req, Resp], req Req) {
	if !r.isDue() || turret.Ready(r.Service) != nil || !r.beginProbe(s.options.ProbeInterval) {
		return
	}
	began := s.probes.Go(ctx, func(ctx context.Context) {
		defer r.endProbe()
		_, _, _ = s.ask(ctx, r, req, true)
	})
	if !began {
		r.endProbe()
	}
}

func (h *health) isDue() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wantsProbe()
}

// wantsProbe is isDue with mu held.
func (h *health) wantsProbe() bool { return h.away && !h.probing && !time.Now().Before(h.due) }

// beginProbe reports whether the probe is the caller's to make: another call may
// have made one, and it may even have ended, since isDue.
func (h *health) beginProbe(interval time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.wantsProbe() {
		return false
	}
	h.probing, h.due = true, time.Now().Add(interval)
	return true
}

func (h *health) endProbe() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
}
