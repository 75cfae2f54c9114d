package ratelimit_test

import (
	"context"
	"testing"

	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
)

// Nobody ever waits at this rate: what is measured is the way through.
const unreached = rate.Limit(1e9)

func echo(_ context.Context, n int) (int, error) { return n, nil }

func BenchmarkLayer(b *testing.B) {
	bench(b, ratelimit.Layer[int, int](ratelimit.Options{Rate: unreached})(turret.ServiceFunc[int, int](echo)))
}

// BenchmarkHandwritten is what one writes without the layer.
func BenchmarkHandwritten(b *testing.B) {
	limiter := rate.NewLimiter(unreached, 1e8)
	var next turret.Service[int, int] = turret.ServiceFunc[int, int](echo)
	bench(b, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		if err := limiter.Wait(ctx); err != nil {
			return 0, err
		}
		return next.Call(ctx, n)
	}))
}

func BenchmarkLayerAdaptive(b *testing.B) {
	limiter := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: unreached})
	bench(b, ratelimit.Layer[int, int](ratelimit.Options{Limiter: limiter})(turret.ServiceFunc[int, int](echo)))
}

func bench(b *testing.B, svc turret.Service[int, int]) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := svc.Call(ctx, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := svc.Call(ctx, 1); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
