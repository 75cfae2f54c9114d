package overhead_test

import (
	"context"
	"testing"
)

const plenty = 1e9 // a second, so that nobody waits

type call func(ctx context.Context, n int) (int, error)

// answer is a service that answers at once.
func answer(_ context.Context, n int) (int, error) { return n, nil }

// answerByContext does so too, and asks first what a service asks that waits for
// anything.
func answerByContext(ctx context.Context, n int) (int, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	default:
		return n, nil
	}
}

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
		contender{"turret", turretFour(answer)},
		contender{"failsafe-go", failsafeFour(answer)},
		contender{"failsafe-go without context", failsafeBare(answer, failsafePolicies()...)},
	)
}

// BenchmarkStackByContext is the stack around a service that waits for the end of its
// context, which costs every contender with a timeout a context of the standard library.
func BenchmarkStackByContext(b *testing.B) {
	compare(b,
		contender{"turret", turretFour(answerByContext)},
		contender{"failsafe-go", failsafeFour(answerByContext)},
	)
}

func BenchmarkTimeout(b *testing.B) {
	compare(b,
		contender{"turret", turretStack(answer, turretTimeout())},
		contender{"failsafe-go", failsafeStack(answer, failsafeTimeout())},
	)
}

func BenchmarkRetry(b *testing.B) {
	compare(b,
		contender{"turret", turretStack(answer, turretRetry())},
		contender{"failsafe-go", failsafeStack(answer, failsafeRetry())},
	)
}

func BenchmarkRateLimit(b *testing.B) {
	compare(b,
		contender{"turret", turretStack(answer, turretRateLimit())},
		contender{"failsafe-go", failsafeStack(answer, failsafeRateLimit())},
	)
}

func BenchmarkBreaker(b *testing.B) {
	compare(b,
		contender{"turret", turretStack(answer, turretBreaker())},
		contender{"failsafe-go", failsafeStack(answer, failsafeBreaker())},
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
	ctx, cancel := caller()
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := call(ctx, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func parallel(b *testing.B, call call) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		ctx, cancel := caller()
		defer cancel()
		for pb.Next() {
			if _, err := call(ctx, 1); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// caller returns a context as a server's handler has one: its own, and to be canceled.
func caller() (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}
