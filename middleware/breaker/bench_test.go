package breaker_test

import (
	"context"
	"testing"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

func BenchmarkLayer(b *testing.B) {
	run(b, breaker.Layer[int, int](gobreaker.Settings{})(echo))
}

// BenchmarkHandwritten is what one would write without turret.
func BenchmarkHandwritten(b *testing.B) {
	cb := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
		IsSuccessful: func(err error) bool {
			return err == nil || turret.Classify(err) == turret.Permanent
		},
		IsExcluded: func(err error) bool {
			if err == nil {
				return false
			}
			switch turret.Classify(err) {
			case turret.Throttled, turret.Canceled, turret.Rejected:
				return true
			}
			return false
		},
	})
	var next turret.Service[int, int] = echo
	run(b, turret.ServiceFunc[int, int](func(ctx context.Context, req int) (int, error) {
		return cb.Execute(func() (int, error) { return next.Call(ctx, req) })
	}))
}

func run(b *testing.B, svc turret.Service[int, int]) {
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
