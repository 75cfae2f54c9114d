package middleware_test

import (
	"context"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// The four layers that everyone needs, beside what one writes by hand on the
// same libraries. Compare medians of several interleaved runs:
//
//	go test -run '^$' -bench Stack -benchmem -count 10 ./middleware

func answer(_ context.Context, n int) (int, error) { return n, nil }

const plenty = rate.Limit(1e9) // so that nobody waits

func fourLayers() service {
	b := turret.NewBuilder[int, int]()
	b = turret.With(b, timeout.Layer, time.Minute)
	b = turret.With(b, retry.Layer, retry.Options{})
	b = turret.With(b, ratelimit.Layer, ratelimit.Options{Rate: plenty, Burst: 1e6})
	b = turret.With(b, breaker.Layer, gobreaker.Settings{})
	return b.ServiceFunc(answer)
}

// handwritten has the features of the four layers: it judges errors by who
// ended the call, and numbers its attempts.
type handwritten struct {
	next    service
	limiter *rate.Limiter
	breaker *gobreaker.CircuitBreaker[int]
}

func byHand() *handwritten {
	return &handwritten{
		next:    turret.ServiceFunc[int, int](answer),
		limiter: rate.NewLimiter(plenty, 1e6),
		breaker: gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
			IsSuccessful: func(err error) bool { return err == nil || turret.Classify(err) == turret.Permanent },
			IsExcluded:   func(err error) bool { return turret.Classify(err) == turret.Throttled },
		}),
	}
}

func (h *handwritten) Call(ctx context.Context, n int) (resp int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for attempt := 1; ; attempt++ {
		resp, err = h.attempt(turret.WithAttempt(ctx, attempt), n)
		if err == nil {
			return resp, nil
		}
		if c := turret.Outcome(ctx, err); c == turret.Permanent || c == turret.Canceled || attempt == 3 {
			return resp, err
		}
		select {
		case <-time.After(time.Duration(attempt) * 50 * time.Millisecond):
		case <-ctx.Done():
			return resp, ctx.Err()
		}
	}
}

func (h *handwritten) attempt(ctx context.Context, n int) (int, error) {
	if err := h.limiter.Wait(ctx); err != nil {
		return 0, err
	}
	return h.breaker.Execute(func() (int, error) { return h.next.Call(ctx, n) })
}

func bench(b *testing.B, s service) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Call(context.Background(), 1); err != nil {
			b.Fatal(err)
		}
	}
}

func benchParallel(b *testing.B, s service) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Call(context.Background(), 1); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkStackOfFour(b *testing.B)                    { bench(b, fourLayers()) }
func BenchmarkStackOfFourHandwritten(b *testing.B)         { bench(b, byHand()) }
func BenchmarkStackOfFourParallel(b *testing.B)            { benchParallel(b, fourLayers()) }
func BenchmarkStackOfFourHandwrittenParallel(b *testing.B) { benchParallel(b, byHand()) }
