package concurrency_test

import (
	"context"
	"testing"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/concurrency"
)

func echo(_ context.Context, n int) (int, error) { return n, nil }

func BenchmarkLayer(b *testing.B) {
	bench(b, wrap(concurrency.Options{Max: 1000}, turret.ServiceFunc[int, int](echo)))
}

// BenchmarkHandwritten is what one writes without the layer: a channel with a
// place for each call.
func BenchmarkHandwritten(b *testing.B) {
	places := make(chan struct{}, 1000)
	var next service = turret.ServiceFunc[int, int](echo)
	bench(b, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		defer func() { <-places }()
		return next.Call(ctx, n)
	}))
}

// BenchmarkContended has eight callers for each of two places.
func BenchmarkContended(b *testing.B) {
	svc := wrap(concurrency.Options{Max: 2}, turret.ServiceFunc[int, int](echo))
	b.SetParallelism(8)
	parallel(b, context.Background(), svc)
}

func bench(b *testing.B, svc service) {
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
	b.Run("parallel", func(b *testing.B) { parallel(b, ctx, svc) })
}

func parallel(b *testing.B, ctx context.Context, svc service) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := svc.Call(ctx, 1); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
