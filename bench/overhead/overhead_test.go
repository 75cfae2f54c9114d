package overhead_test

import (
	"context"
	"testing"
)

const plenty = 1e9 // a second, so that nobody waits

type call func(ctx context.Context, n int) (int, error)

// contender is someone's way to make a call.
type contender struct {
	name string
	call call
}

func BenchmarkNothing(b *testing.B) {
	compare(b, contender{"function", answer})
}

func BenchmarkStack(b *testing.B) {
	compare(b,
		contender{"turret", turretStack(turretTimeout(), turretRetry(), turretRateLimit(), turretBreaker())},
		contender{"failsafe-go", failsafeStack(failsafeTimeout(), failsafeRetry(), failsafeRateLimit(), failsafeBreaker())},
		contender{"failsafe-go without context", failsafeBare(failsafeTimeout(), failsafeRetry(), failsafeRateLimit(), failsafeBreaker())},
	)
}

func BenchmarkTimeout(b *testing.B) {
	compare(b,
		contender{"turret", turretStack(turretTimeout())},
		contender{"failsafe-go", failsafeStack(failsafeTimeout())},
	)
}

func BenchmarkRetry(b *testing.B) {
	compare(b,
		contender{"turret", turretStack(turretRetry())},
		contender{"failsafe-go", failsafeStack(failsafeRetry())},
	)
}

func BenchmarkRateLimit(b *testing.B) {
	compare(b,
		contender{"turret", turretStack(turretRateLimit())},
		contender{"failsafe-go", failsafeStack(failsafeRateLimit())},
	)
}

func BenchmarkBreaker(b *testing.B) {
	compare(b,
		contender{"turret", turretStack(turretBreaker())},
		contender{"failsafe-go", failsafeStack(failsafeBreaker())},
	)
}

// compare runs each contender, called by one goroutine and by GOMAXPROCS.
func compare(b *testing.B, contenders ...contender) {
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			b.Run("serial", func(b *testing.B) { serial(b, c.call) })
			b.Run("parallel", func(b *testing.B) { parallel(b, c.call) })
		})
	}
}

func serial(b *testing.B, call call) {
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := call(ctx, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func parallel(b *testing.B, call call) {
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := call(ctx, 1); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
