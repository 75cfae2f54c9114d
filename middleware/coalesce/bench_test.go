package coalesce_test

import (
	"context"
	"sync"
	"testing"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/coalesce"
)

var echo = turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { return n, nil })

func BenchmarkLayer(b *testing.B) {
	run(b, coalesce.Layer[int, int, int](func(n int) int { return n })(echo))
}

// BenchmarkHandwritten is what one would write without turret. It lets nobody
// leave: the first caller makes the call in its own goroutine, and the others
// wait for that, whatever becomes of their contexts.
func BenchmarkHandwritten(b *testing.B) {
	type flight struct {
		done sync.WaitGroup
		resp int
		err  error
	}
	var mu sync.Mutex
	flights := make(map[int]*flight)
	var next turret.Service[int, int] = echo
	run(b, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		mu.Lock()
		if f, ok := flights[n]; ok {
			mu.Unlock()
			f.done.Wait()
			return f.resp, f.err
		}
		f := new(flight)
		f.done.Add(1)
		flights[n] = f
		mu.Unlock()
		f.resp, f.err = next.Call(ctx, n)
		mu.Lock()
		delete(flights, n)
		mu.Unlock()
		f.done.Done()
		return f.resp, f.err
	}))
}

func run(b *testing.B, s turret.Service[int, int]) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Call(ctx, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Call(ctx, 1); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
