package balance_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type svc = turret.Service[int, string]

// server answers with its name after a while, or fails with what err says.
type server struct {
	name  string
	takes atomic.Int64 // nanoseconds
	err   atomic.Pointer[error]
	down  atomic.Pointer[error] // what Ready says

	calls, underWay, most atomic.Int64
}

func newServer(name string, takes time.Duration) *server {
	s := &server{name: name}
	s.takes.Store(int64(takes))
	return s
}

func (s *server) fail(err error)        { s.err.Store(&err) }
func (s *server) recover()              { s.err.Store(nil) }
func (s *server) unready(e error)       { s.down.Store(&e) }
func (s *server) readyAgain()           { s.down.Store(nil) }
func (s *server) String() string        { return "server " + s.name }
func (s *server) share(n int64) float64 { return float64(s.calls.Load()) / float64(n) }

func (s *server) Ready() error {
	if e := s.down.Load(); e != nil {
		return *e
	}
	return nil
}

func (s *server) Call(ctx context.Context, _ int) (string, error) {
	s.calls.Add(1)
	n := s.underWay.Add(1)
	defer s.underWay.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	if takes := time.Duration(s.takes.Load()); takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if e := s.err.Load(); e != nil {
		return "", *e
	}
	return s.name, nil
}

func pool(o balance.Options, servers ...*server) *balance.Balancer[int, string] {
	var replicas []svc
	for _, s := range servers {
		o.Names = append(o.Names, s.name)
		replicas = append(replicas, s)
	}
	return balance.New(o, replicas...)
}

// load has workers call for a while, each one call after the other, and returns
// how many calls there were. It runs in a bubble.
func load(t *testing.T, s svc, workers int, d time.Duration) int64 {
	t.Helper()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for start := time.Now(); time.Since(start) < d; {
				_, _ = s.Call(t.Context(), 1)
				n.Add(1)
				<-time.After(5 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return n.Load()
}

func inBubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

var errBoom = errors.New("boom")

func of(c turret.Class) error { return turret.WithClass(errBoom, c) }

var failures = []turret.Class{turret.Transient, turret.Unknown, turret.Throttled, turret.Rejected}
