package buffer_test

import (
	"context"
	"testing"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/buffer"
)

var echo = turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { return n, nil })

func BenchmarkLayer(b *testing.B) {
	svc := buffer.New(echo, buffer.Options{Capacity: 1024})
	defer svc.Close()
	bench(b, svc)
}

// BenchmarkHandwritten is what one writes without the layer: a goroutine and a
// channel, whose requests are not taken out when their callers leave, and which
// cannot be aborted.
func BenchmarkHandwritten(b *testing.B) {
	type request struct {
		ctx  context.Context
		n    int
		done chan int
	}
	queue := make(chan request, 1024)
	go func() {
		for r := range queue {
			if r.ctx.Err() != nil {
				continue
			}
			resp, _ := echo(r.ctx, r.n)
			r.done <- resp
		}
	}()
	defer close(queue)
	bench(b, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		r := request{ctx, n, make(chan int, 1)}
		select {
		case queue <- r:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		select {
		case resp := <-r.done:
			return resp, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}))
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
		b.SetParallelism(8)
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
