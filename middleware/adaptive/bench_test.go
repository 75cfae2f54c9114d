package adaptive_test

import (
	"context"
	"errors"
	"testing"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
)

func echo(_ context.Context, n int) (int, error) { return n, nil }

func BenchmarkLayer(b *testing.B) {
	bench(b, adaptive.Layer[int, int](adaptive.Options{Min: 100})(turret.ServiceFunc[int, int](echo)))
}

// BenchmarkHandwritten is what one writes without the layer: a limit that stays
// where it is.
func BenchmarkHandwritten(b *testing.B) {
	permits := make(chan struct{}, 100)
	var next turret.Service[int, int] = turret.ServiceFunc[int, int](echo)
	bench(b, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		select {
		case permits <- struct{}{}:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		defer func() { <-permits }()
		return next.Call(ctx, n)
	}))
}

func BenchmarkRefusal(b *testing.B) {
	hold := make(chan struct{})
	svc := adaptive.Layer[int, int](adaptive.Options{Max: 1, MaxQueue: adaptive.NoQueue})(turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
		hold <- struct{}{}
		<-hold
		return 0, nil
	}))
	go func() { _, _ = svc.Call(context.Background(), 0) }()
	<-hold
	b.ReportAllocs()
	for b.Loop() {
		if _, err := svc.Call(context.Background(), 1); !errors.Is(err, adaptive.ErrLimited) {
			b.Fatal(err)
		}
	}
	hold <- struct{}{}
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
