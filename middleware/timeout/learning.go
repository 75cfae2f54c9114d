package timeout

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
)

// Learning configures [LearningLayer]. Both must be set.
type Learning struct {
	Min time.Duration // the limit of a first attempt, where the service is fast
	Max time.Duration // that of a further one, and of all where the service is slow
}

// Validate says what is wrong with l, if anything is.
func (l Learning) Validate() error {
	switch {
	case l.Min <= 0:
		return fmt.Errorf("timeout: Min is %v; it must be above zero", l.Min)
	case l.Max < l.Min:
		return fmt.Errorf("timeout: Max is %v, below Min, which is %v; the limit moves between the two", l.Max, l.Min)
	}
	return nil
}

// LearningLayer is [Layer] with a limit that follows the service, for each
// attempt below a retry. A service that hangs is found out after Min, and one
// that has become slow is given the time that it takes.
//
// A first attempt has twice the time of a slow success seen of late, from Min to
// Max; a further one, which [turret.Attempt] tells, has Max. So a limit that is
// too short costs a retry, not the call, and the retry's success makes it longer:
// at once. It shrinks again by a two-hundred-and-fiftieth with each success that
// was faster. Without a retry above, a service that takes longer than Min from
// one moment to the next is lost to the layer; use [Layer] there.
//
// Each service that the layer wraps has a limit of its own. LearningLayer panics
// with Validate's error if l is invalid.
func LearningLayer[Req, Resp any](l Learning) turret.Layer[Req, Resp] {
	if err := l.Validate(); err != nil {
		panic(err)
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		s := &learning[Req, Resp]{Learning: l, further: newService(next, l.Max)}
		s.first.Store(newService(next, l.Min))
		return s
	}
}

type learning[Req, Resp any] struct {
	Learning
	first   atomic.Pointer[service[Req, Resp]] // another one for each limit
	further *service[Req, Resp]
}

func (s *learning[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	attempt := s.first.Load()
	if turret.Attempt(ctx) > 1 {
		attempt = s.further
	}
	start := time.Now()
	resp, err := attempt.Call(ctx, req)
	if err == nil {
		s.learn(time.Since(start))
	}
	return resp, err
}

// learn takes note of how long a success took. Two that come at once may undo
// each other's step.
func (s *learning[Req, Resp]) learn(took time.Duration) {
	limit := s.limit()
	want := min(max(2*took, s.Min), s.Max)
	if want < limit {
		want = max(want, limit-limit/250)
	}
	if want != limit {
		s.first.Store(newService(s.further.next, want))
	}
}

// limit is that of a first attempt, as it is now.
func (s *learning[Req, Resp]) limit() time.Duration { return s.first.Load().limit }

// State returns the present limit of a first attempt, for [turret.Inspect].
func (s *learning[Req, Resp]) State() slog.Attr {
	return slog.Group("timeout", slog.Duration("limit", s.limit()))
}

func (s *learning[Req, Resp]) String() string { return fmt.Sprintf("timeout %v to %v", s.Min, s.Max) }
func (s *learning[Req, Resp]) Unwrap() []any  { return s.further.below }
