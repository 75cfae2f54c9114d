package adaptive_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
	"github.com/turretgo/turret/middleware/timeout"
)

const serviceTime = 20 * time.Millisecond

// between requires that the limit leaves no worker idle, and lets at most half
// as many calls again queue for them. Three are allowed where there are few.
func between(t *testing.T, l *adaptive.Limit, workers int) {
	t.Helper()
	require.GreaterOrEqual(t, l.Limit(), workers)
	require.LessOrEqual(t, l.Limit(), workers+max(3, workers/2))
}

// busy requires that the server is kept busy, probes aside.
func busy(t *testing.T, s *server, workers int) {
	t.Helper()
	require.InEpsilon(t, float64(workers)/serviceTime.Seconds(), s.throughput(3*time.Second), 0.1)
}

func TestLimitConvergesToTheServicesCapacity(t *testing.T) {
	for _, tt := range []struct {
		name    string
		workers int
		initial int
	}{
		{"one worker", 1, 0},
		{"a few", 4, 0},
		{"from below", 60, 1},
		{"near", 40, 0},
		{"from far above, where all that was ever measured is a queue", 10, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(tt.workers, serviceTime)
				l := adaptive.New(adaptive.Options{Initial: tt.initial})
				defer load(share(l, s), 300)()
				<-time.After(8 * time.Second)
				between(t, l, tt.workers)
				busy(t, s, tt.workers)
			})
		})
	}
}

func TestLimitConvergesWhenCallsTakeARandomTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(40, 0).exponential(serviceTime)
		l := adaptive.New(adaptive.Options{})
		defer load(share(l, s), 200)()
		<-time.After(5 * time.Second)
		for range 5 {
			between(t, l, 40)
			busy(t, s, 40)
		}
	})
}

func TestFallsOnOverloadAndRecoversAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(40, serviceTime)
		l := adaptive.New(adaptive.Options{})
		defer load(share(l, s), 200)()
		<-time.After(5 * time.Second)
		between(t, l, 40)

		s.setWorkers(10)
		<-time.After(2 * time.Second)
		between(t, l, 10)
		busy(t, s, 10)

		s.setWorkers(40)
		<-time.After(2 * time.Second)
		between(t, l, 40)
		busy(t, s, 40)
	})
}

func TestAServiceThatBecameSlowerIsNotOverloadedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(40, serviceTime)
		l := adaptive.New(adaptive.Options{})
		defer load(share(l, s), 200)()
		<-time.After(5 * time.Second)

		s.setTakes(3 * serviceTime)
		<-time.After(6 * time.Second)
		between(t, l, 40)

		s.setTakes(serviceTime)
		<-time.After(3 * time.Second)
		between(t, l, 40)
	})
}

// A queue that stands for long must not become what the service is thought to
// take without one: the limit would creep up, and the queue with it.
func TestAStandingQueueDoesNotBecomeTheNorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Options{})
		defer load(share(l, newServer(10, serviceTime)), 100)()
		for range 5 {
			<-time.After(30 * time.Second)
			between(t, l, 10)
		}
	})
}

func TestOneSlowAnswerDoesNotMoveTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(40, serviceTime)
		l := adaptive.New(adaptive.Options{OnChange: func(c adaptive.Change) {
			if c.Reason == adaptive.Latency {
				assert.GreaterOrEqual(t, c.To, c.From-3, "%+v", c)
			}
		}})
		defer load(share(l, s), 200)()
		<-time.After(5 * time.Second)
		s.setTakesOnce(30 * time.Second)
		<-time.After(35 * time.Second)
	})
}

func TestThrottledCountsAsOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quota := rate.NewLimiter(100, 10) // two calls of 20 ms at once are 100 a second
		granted := 0
		var mu sync.Mutex
		throttling := turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
			if !quota.Allow() {
				<-time.After(time.Millisecond)
				return 0, errThrottled
			}
			<-time.After(serviceTime)
			mu.Lock()
			defer mu.Unlock()
			granted++
			return 1, nil
		})
		l := adaptive.New(adaptive.Options{})
		defer load(share(l, throttling), 50)()
		<-time.After(3 * time.Second)
		for range 100 {
			<-time.After(100 * time.Millisecond)
			require.LessOrEqual(t, l.Limit(), 6)
		}
		mu.Lock()
		defer mu.Unlock()
		require.Greater(t, granted, 1000, "most of the quota of 13 seconds is used")
	})
}

func TestAttemptTimeoutsBelowCountAsOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(40, serviceTime)
		l := adaptive.New(adaptive.Options{Min: 2})
		defer load(share(l, timeout.Layer[int, int](time.Second)(s)), 200)()
		<-time.After(5 * time.Second)

		s.setTakes(time.Hour)
		<-time.After(20 * time.Second)
		require.Equal(t, 2, l.Limit())

		s.setWorkers(0) // and so away with the backlog
		s.setWorkers(40)
		s.setTakes(serviceTime)
		<-time.After(5 * time.Second)
		between(t, l, 40)
	})
}

func TestIdlePeriodsDoNotInflateTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Options{Initial: 50})
		defer load(share(l, newServer(100, serviceTime)), 44)() // 90% of 50 are 45
		<-time.After(20 * time.Second)
		require.Equal(t, 50, l.Limit())
	})
}

func TestLimitGrowsWhileItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Options{Max: 100})
		defer load(share(l, newServer(150, serviceTime)), 150)()
		<-time.After(5 * time.Second)
		require.Equal(t, 100, l.Limit())
	})
}

// What counts is the most that was under way, not what is when a window ends.
func TestLimitGrowsWhereItIsUsedInBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Options{Initial: 10, Max: 40, Window: serviceTime}) // each burst ends one
		svc := share(l, newServer(100, serviceTime))
		for range 200 {
			var burst sync.WaitGroup
			for range l.Limit() {
				burst.Go(func() { _, _ = svc.Call(t.Context(), 1) })
			}
			burst.Wait()
			<-time.After(100 * time.Millisecond)
		}
		require.Equal(t, 40, l.Limit())
	})
}

func TestNeverBelowMinNorAboveMax(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			low := 1 + r.IntN(20)
			high := low + r.IntN(100)
			within := func(limit int) {
				assert.GreaterOrEqual(t, limit, low, "seed %d", seed)
				assert.LessOrEqual(t, limit, high, "seed %d", seed)
			}
			l := adaptive.New(adaptive.Options{
				Min: low, Max: high,
				Window:   time.Duration(1+r.IntN(50)) * time.Millisecond,
				MaxQueue: 1 + r.IntN(50),
				MaxWait:  time.Duration(1+r.IntN(50)) * time.Millisecond,
				OnChange: func(c adaptive.Change) {
					within(c.From)
					within(c.To)
					assert.NotEqual(t, c.From, c.To)
				},
			})
			var mu sync.Mutex
			pace, chaos := time.Millisecond, []error{nil}
			dice := func() (time.Duration, error) {
				mu.Lock()
				defer mu.Unlock()
				if r.IntN(200) == 0 { // other weather
					pace = time.Duration(1+r.IntN(100)) * time.Millisecond
					chaos = [][]error{{nil}, {nil, errThrottled}, {errThrottled}, {nil, errPermanent, errUnknown, errRejected}, {nil, context.DeadlineExceeded}}[r.IntN(5)]
				}
				// A timer of no time, in several goroutines of a bubble, crashes the race detector of Go 1.26.
				return 1 + time.Duration(r.ExpFloat64()*float64(pace)), chaos[r.IntN(len(chaos))]
			}
			svc := share(l, turret.ServiceFunc[int, int](func(ctx context.Context, _ int) (int, error) {
				within(l.Limit())
				assert.LessOrEqual(t, l.InFlight(), high)
				takes, err := dice()
				select {
				case <-time.After(takes):
					return 1, err
				case <-ctx.Done():
					return 0, ctx.Err()
				}
			}))
			end := load(svc, high+20)
			<-time.After(time.Second)
			end()
			require.Zero(t, l.InFlight())
			require.Zero(t, l.Waiting())
		})
	}
}
