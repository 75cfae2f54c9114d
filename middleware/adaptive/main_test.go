package adaptive_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errThrottled = turret.WithClass(errors.New("ThrottlingException"), turret.Throttled)
	errPermanent = turret.WithClass(errors.New("no such key"), turret.Permanent)
	errRejected  = turret.WithClass(errors.New("refused below"), turret.Rejected)
	errUnknown   = errors.New("broken")
)

// server is a simulated service: so many workers, and a queue before them that
// is served in order. A call that goes away leaves its work behind.
type server struct {
	mu       sync.Mutex
	free     []time.Time          // when each worker is
	takes    func() time.Duration // what a worker needs for a call
	answered int
}

func newServer(workers int, takes time.Duration) *server {
	return &server{free: make([]time.Time, workers), takes: func() time.Duration { return takes }}
}

// exponential makes calls take a mean of takes, at random.
func (s *server) exponential(takes time.Duration) *server {
	r := rand.New(rand.NewPCG(1, 2))
	s.takes = func() time.Duration { return 1 + time.Duration(r.ExpFloat64()*float64(takes)) }
	return s
}

// setWorkers changes the server's capacity. What is begun is finished.
func (s *server) setWorkers(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free[:min(n, len(s.free))], make([]time.Time, max(0, n-len(s.free)))...)
}

func (s *server) setTakes(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes = func() time.Duration { return d }
}

// setTakesOnce makes the next call take d.
func (s *server) setTakesOnce(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	takes := s.takes
	s.takes = func() time.Duration {
		s.takes = takes
		return d
	}
}

func (s *server) Call(ctx context.Context, _ int) (int, error) {
	select {
	case <-time.After(time.Until(s.finished())):
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answered++
		return 1, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// finished returns when a call that comes now will have been served.
func (s *server) finished() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := 0
	for i, t := range s.free {
		if t.Before(s.free[first]) {
			first = i
		}
	}
	start := time.Now()
	if s.free[first].After(start) {
		start = s.free[first]
	}
	s.free[first] = start.Add(s.takes())
	return s.free[first]
}

// throughput returns the answers a second from now on, over d.
func (s *server) throughput(d time.Duration) float64 {
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.answered
	}
	before := count()
	<-time.After(d)
	return float64(count()-before) / d.Seconds()
}

// load has so many callers call svc, each again as soon as it has its answer,
// until the test ends it.
func load(svc turret.Service[int, int], callers int) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := svc.Call(ctx, 1); err != nil {
					<-time.After(time.Millisecond)
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

func share(l *adaptive.Limit, next turret.Service[int, int]) turret.Service[int, int] {
	return adaptive.Share[int, int](l)(next)
}

// returning is a service that takes a while and returns err.
func returning(takes time.Duration, err error) turret.Service[int, int] {
	return turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
		if takes > 0 {
			<-time.After(takes)
		}
		return 1, err
	})
}
