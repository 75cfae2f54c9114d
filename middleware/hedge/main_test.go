package hedge_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/hedge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type service = turret.Service[int, string]

// every call may be hedged.
func every() *hedge.Budget { return hedge.NewBudget(1) }

func wrap(s service, o hedge.Options) service { return hedge.Layer[int, string](o)(s) }

// after waits for d like a service that listens to its context.
func after(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// script answers the nth call made of it, counted from 0, as its nth step says.
// Calls beyond its end answer at once.
type script struct {
	steps []step

	mu    sync.Mutex
	calls []*seen
}

type step struct {
	takes time.Duration
	err   error
	do    func() // at the end, if the context still lives
}

// seen is a call as the script saw it.
type seen struct {
	ctx   context.Context
	at    time.Time
	ended chan struct{}
}

func (s *script) Call(ctx context.Context, req int) (string, error) {
	s.mu.Lock()
	n := len(s.calls)
	call := &seen{ctx, time.Now(), make(chan struct{})}
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	defer close(call.ended)

	var step step
	if n < len(s.steps) {
		step = s.steps[n]
	}
	if err := after(ctx, step.takes); err != nil {
		return "", err
	}
	if step.do != nil {
		step.do()
	}
	if step.err != nil {
		return "", step.err
	}
	return names[min(n, 2)], nil
}

var names = []string{"original", "hedge 1", "hedge 2"}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

type saying struct {
	class turret.Class
	after time.Duration
}

func (s saying) Error() string                     { return s.class.String() }
func (s saying) Class() turret.Class               { return s.class }
func (s saying) RetryAfter() (time.Duration, bool) { return s.after, s.after > 0 }

func of(c turret.Class) error { return saying{class: c} }

var errDown = turret.WithClass(errors.New("connection reset"), turret.Transient)
