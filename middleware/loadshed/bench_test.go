package loadshed_test

import (
	"context"
	"testing"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/loadshed"
)

func BenchmarkLayer(b *testing.B) { bench(b, wrap(loadshed.Options{}, &backend{})) }

// BenchmarkHandwritten is what one writes without the layer, for one service
// that can tell, and nothing in between.
func BenchmarkHandwritten(b *testing.B) {
	next := &backend{}
	bench(b, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		if err := next.Ready(); err != nil {
			return 0, err
		}
		return next.Call(ctx, n)
	}))
}

func bench(b *testing.B, svc service) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := svc.Call(ctx, 1); err != nil {
			b.Fatal(err)
		}
	}
}
