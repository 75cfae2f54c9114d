package throttle_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/throttle"
)

func BenchmarkLayer(b *testing.B) {
	bench(b, wrap(throttle.Options{}, turret.ServiceFunc[int, int](echo)))
}

// BenchmarkHandwritten is what one writes without the layer: counts in slots of
// a second, and a mutex.
func BenchmarkHandwritten(b *testing.B) {
	var (
		mu                sync.Mutex
		requests, accepts [30]int
		last              int64
		next              service = turret.ServiceFunc[int, int](echo)
	)
	move := func() int64 {
		now := time.Now().Unix()
		for ; last < now; last++ {
			requests[(last+1)%30], accepts[(last+1)%30] = 0, 0
		}
		return now % 30
	}
	last = time.Now().Unix()
	bench(b, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		mu.Lock()
		move()
		r, a := 0, 0
		for i := range requests {
			r += requests[i]
			a += accepts[i]
		}
		mu.Unlock()
		if r > 2*a {
			return 0, throttle.ErrRefused // as nothing does in this benchmark
		}
		resp, err := next.Call(ctx, n)
		mu.Lock()
		i := move()
		requests[i]++
		if err == nil {
			accepts[i]++
		}
		mu.Unlock()
		return resp, err
	}))
}

func bench(b *testing.B, svc service) {
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
