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

// learn draws the conclusion of a call that began in the given term.
func (s *service[Req, Resp]) learn(r *replica[Req, Resp], term int, class turret.Class, err error) {
	if s.watches() && r.learn(term, s.options, class, err) && s.options.OnChange != nil {
		change := Change{Name: r.name}
		if !isAnswer(class, err) {
			change.Away, change.Err = true, err
		}
		s.options.OnChange(change)
	}
}

// learn reports whether the replica went away or came back.
func (h *health) learn(term int, o Options, class turret.Class, err error) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.away
	switch {
	case term != h.term:
	case isAnswer(class, err):
		h.failures, h.away = 0, false
	case class == turret.Canceled || class == turret.Rejected: // it was not reached, or had no time
	default:
		h.failures++
		h.away = h.failures >= o.Failures
		h.due = time.Now().Add(o.ProbeInterval)
	}
	if h.away == was {
		return false
	}
	h.term++
	return true
}

func isAnswer(class turret.Class, err error) bool { return err == nil || class == turret.Permanent }

// probe asks a replica that is away, beside a call of the same request, if it is
// time to.
func (s *service[Req, Resp]) probe(ctx context.Context, r *replica[Req, Resp], req Req) {
	if !r.isDue() || turret.Ready(r.Service) != nil || !r.beginProbe(s.options.ProbeInterval) {
		return
	}
	began := s.probes.Go(ctx, func(ctx context.Context) {
		defer r.endProbe()
		_, _, _ = s.ask(ctx, r, req)
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
