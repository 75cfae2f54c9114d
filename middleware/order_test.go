package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/logging"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// What docs/order.md says, tried.

// region is a replica with the layers that are its own.
func region(name string) service {
	b := turret.NewBuilder[int, int]()
	b = turret.With(b, ratelimit.Layer, ratelimit.Options{Rate: 500})
	b = turret.With(b, adaptive.Layer, adaptive.Options{Max: 200})
	b = turret.With(b, breaker.Layer, gobreaker.Settings{Name: name, Timeout: 10 * time.Second})
	b = turret.With(b, timeout.Layer, time.Second)
	return b.ServiceFunc(answer)
}

func rightOrder() service {
	b := turret.NewBuilder[int, int]()
	b = turret.With(b, logging.Layer, logging.Options{Name: "users"})
	b = turret.With(b, timeout.Layer, 10*time.Second)
	b = turret.With(b, concurrency.Layer, concurrency.Options{Max: 100})
	b = turret.With(b, retry.Layer, retry.Options{MaxAttempts: 4})
	return b.Service(failover.New(
		failover.Options{Names: []string{"east", "west"}},
		region("east"), region("west"),
	))
}

// wrongOrder has nothing but the same layers.
func wrongOrder() service {
	b := turret.NewBuilder[int, int]()
	b = turret.With(b, logging.Layer, logging.Options{Name: "users"})
	b = turret.With(b, ratelimit.Layer, ratelimit.Options{Rate: 500})
	b = turret.With(b, breaker.Layer, gobreaker.Settings{Timeout: 10 * time.Second})
	b = turret.With(b, adaptive.Layer, adaptive.Options{Max: 200})
	b = turret.With(b, retry.Layer, retry.Options{MaxAttempts: 4})
	b = turret.With(b, concurrency.Layer, concurrency.Options{Max: 100})
	b = turret.With(b, timeout.Layer, 10*time.Second)
	return b.Service(failover.New(
		failover.Options{Names: []string{"east", "west"}},
		turret.ServiceFunc[int, int](answer), turret.ServiceFunc[int, int](answer),
	))
}

func Example_rightOrder() {
	fmt.Println(turret.Describe(rightOrder()))
	// Output:
	// logging users
	// timeout 10s
	// concurrency 100, queue 1024
	// retry 4 attempts, backoff 50ms–5s
	// failover east, west
	//   rate limit 500/s, burst 50
	//   adaptive concurrency, 1 to 200, queue 1024
	//   breaker east (opens for 10s)
	//   timeout 1s
	//   func
	//   rate limit 500/s, burst 50
	//   adaptive concurrency, 1 to 200, queue 1024
	//   breaker west (opens for 10s)
	//   timeout 1s
	//   func
}

func Example_wrongOrder() {
	fmt.Println(turret.Describe(wrongOrder()))
	// Output:
	// logging users
	// rate limit 500/s, burst 50
	// breaker (opens for 10s)
	// adaptive concurrency, 1 to 200, queue 1024
	// retry 4 attempts, backoff 50ms–5s
	// concurrency 100, queue 1024
	// timeout 10s
	// failover east, west
	//   func
	//   func
}

func TestOrderPageShowsWhatDescribeSays(t *testing.T) {
	page, err := os.ReadFile("../docs/order.md")
	require.NoError(t, err)
	for _, svc := range []service{rightOrder(), wrongOrder()} {
		require.Contains(t, string(page), turret.Describe(svc))
	}
}

var errDown = turret.WithClass(errors.New("down"), turret.Transient)

// counted is a service of which the calls are counted.
func counted(calls *atomic.Int64, call turret.ServiceFunc[int, int]) service {
	return turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		calls.Add(1)
		return call(ctx, n)
	})
}

func down(context.Context, int) (int, error) { return 0, errDown }

func hang(ctx context.Context, _ int) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func stack(layers ...turret.Layer[int, int]) turret.Layer[int, int] { return turret.Stack(layers...) }

func TestARateLimitAboveTheRetryIsExceeded(t *testing.T) {
	again := retry.Layer[int, int](retry.Options{MaxAttempts: 3})
	limit := ratelimit.Layer[int, int](ratelimit.Options{Rate: 10, Burst: 1})
	for _, tt := range []struct {
		name  string
		layer turret.Layer[int, int]
		want  int64 // calls of the service in ten seconds
	}{
		{"above", stack(limit, again), 300},
		{"below", stack(again, limit), 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				svc := tt.layer(counted(&calls, down))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						for ctx.Err() == nil {
							_, err := svc.Call(ctx, 1)
							assert.Error(t, err)
							<-time.After(10 * time.Millisecond)
						}
					})
				}
				all.Wait()
				assert.InEpsilon(t, tt.want, calls.Load(), 0.1)
			})
		})
	}
}

func TestABreakerAboveTheRetrySeesAThirdOfTheFailures(t *testing.T) {
	again := retry.Layer[int, int](retry.Options{MaxAttempts: 3})
	trips := breaker.Layer[int, int](gobreaker.Settings{}) // after 6 failures
	for _, tt := range []struct {
		name  string
		layer turret.Layer[int, int]
		want  int64 // calls of a service that is down
	}{
		{"above", stack(trips, again), 18},
		{"below", stack(again, trips), 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				svc := tt.layer(counted(&calls, down))
				for range 10 {
					_, err := svc.Call(t.Context(), 1)
					require.Error(t, err)
				}
				require.Equal(t, tt.want, calls.Load())
			})
		})
	}
}

func TestWithoutATimeoutOfTheAttemptABreakerNeverTripsOnHangs(t *testing.T) {
	whole := timeout.Layer[int, int](10 * time.Second)
	trips := breaker.Layer[int, int](gobreaker.Settings{Timeout: time.Hour})
	for _, tt := range []struct {
		name  string
		layer turret.Layer[int, int]
		trips bool
	}{
		{"without", stack(whole, trips), false},
		{"with", stack(whole, trips, timeout.Layer[int, int](time.Second)), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := tt.layer(turret.ServiceFunc[int, int](hang))
				for range 100 {
					_, err := svc.Call(t.Context(), 1)
					require.Error(t, err)
				}
				require.Equal(t, tt.trips, errors.Is(turret.Ready(svc), breaker.ErrOpen))
			})
		})
	}
}

func TestTwoRetriesMultiply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		again := retry.Layer[int, int](retry.Options{MaxAttempts: 3})
		_, err := stack(again, again)(counted(&calls, down)).Call(t.Context(), 1)
		require.Error(t, err)
		require.EqualValues(t, 9, calls.Load())
	})
}

func TestATimeoutBelowAQueueDoesNotBoundTheWait(t *testing.T) {
	limit := concurrency.Layer[int, int](concurrency.Options{Max: 1})
	patience := timeout.Layer[int, int](time.Second)
	for _, tt := range []struct {
		name  string
		layer turret.Layer[int, int]
		want  time.Duration // that the last of ten callers waits
	}{
		{"below", stack(limit, patience), 10 * time.Second},
		{"above", stack(patience, limit), time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := tt.layer(turret.ServiceFunc[int, int](hang))
				start := time.Now()
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() { _, _ = svc.Call(t.Context(), 1) })
				}
				all.Wait()
				require.Equal(t, tt.want, time.Since(start))
			})
		})
	}
}

func TestAQueueBelowTheTimeoutOfTheAttemptOpensTheBreaker(t *testing.T) {
	limit := concurrency.Layer[int, int](concurrency.Options{Max: 1})
	trips := breaker.Layer[int, int](gobreaker.Settings{Timeout: time.Hour})
	attempt := timeout.Layer[int, int](time.Second)
	for _, tt := range []struct {
		name  string
		layer turret.Layer[int, int]
		trips bool
	}{
		{"below", stack(trips, attempt, limit), true},
		{"above", stack(limit, trips, attempt), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := tt.layer(turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
					select { // it is well, and takes what it always does
					case <-time.After(400 * time.Millisecond):
						return n, nil
					case <-ctx.Done():
						return 0, ctx.Err()
					}
				}))
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() { _, _ = svc.Call(t.Context(), 1) })
				}
				all.Wait()
				require.Equal(t, tt.trips, errors.Is(turret.Ready(svc), breaker.ErrOpen))
			})
		})
	}
}

func TestABreakerAboveTheFailoverLeavesEachCallToAskTheHomeThatIsDown(t *testing.T) {
	trips := breaker.Layer[int, int](gobreaker.Settings{})
	twoRegions := func(home service) service {
		return failover.New[int, int](failover.Options{}, home, turret.ServiceFunc[int, int](answer))
	}
	for _, tt := range []struct {
		name  string
		stack func(home service) service
		want  int64 // calls of a home that is down
	}{
		{"above", func(home service) service { return trips(twoRegions(home)) }, 100},
		{"below", func(home service) service { return twoRegions(trips(home)) }, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var calls atomic.Int64
			svc := tt.stack(counted(&calls, down))
			for range 100 {
				_, err := svc.Call(t.Context(), 1)
				require.NoError(t, err)
			}
			require.Equal(t, tt.want, calls.Load())
		})
	}
}

func TestAnAdaptiveLimitAboveTheRetryTakesBackoffForLatency(t *testing.T) {
	again := retry.Layer[int, int](retry.Options{MaxAttempts: 10})
	for _, tt := range []struct {
		name  string
		layer func(*adaptive.Limit) turret.Layer[int, int]
		falls bool
	}{
		{"above", func(l *adaptive.Limit) turret.Layer[int, int] { return stack(adaptive.Share[int, int](l), again) }, true},
		{"below", func(l *adaptive.Limit) turret.Layer[int, int] { return stack(again, adaptive.Share[int, int](l)) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var flaky atomic.Bool
				lowest := 50
				l := adaptive.New(adaptive.Options{Initial: 50, Max: 50, OnChange: func(c adaptive.Change) {
					if c.Reason == adaptive.Latency {
						lowest = min(lowest, c.To)
					}
				}})
				var calls atomic.Int64
				svc := tt.layer(l)(counted(&calls, func(_ context.Context, n int) (int, error) {
					<-time.After(10 * time.Millisecond)
					if flaky.Load() && calls.Load()%2 == 0 {
						return 0, errDown
					}
					return n, nil
				}))
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				for range 60 {
					all.Go(func() {
						for ctx.Err() == nil {
							_, _ = svc.Call(ctx, 1)
						}
					})
				}
				<-time.After(2 * time.Second)
				flaky.Store(true)
				<-time.After(2 * time.Second)
				cancel()
				all.Wait()
				require.Equal(t, tt.falls, lowest < 50, lowest)
			})
		})
	}
}
