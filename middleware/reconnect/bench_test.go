package reconnect_test

import (
	"context"
	"sync"
	"testing"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/reconnect"
)

var echo = turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { return n, nil })

func BenchmarkService(b *testing.B) {
	svc := reconnect.New(reconnect.Options{}, func(context.Context) (turret.Service[int, int], error) { return echo, nil })
	defer turret.Close(svc)
	bench(b, svc)
}

// BenchmarkHandwritten is what one writes without the package: a connection under
// a lock, dropped after an error, that is never closed and never backs off.
func BenchmarkHandwritten(b *testing.B) {
	var mu sync.RWMutex
	var current turret.Service[int, int]
	get := func() turret.Service[int, int] {
		mu.RLock()
		c := current
		mu.RUnlock()
		if c != nil {
			return c
		}
		mu.Lock()
		defer mu.Unlock()
		if current == nil {
			current = echo
		}
		return current
	}
	bench(b, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		resp, err := get().Call(ctx, n)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			current = nil
		}
		return resp, err
	}))
}

func bench(b *testing.B, svc turret.Service[int, int]) {
	ctx := context.Background()
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
