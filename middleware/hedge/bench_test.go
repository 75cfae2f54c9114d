package hedge_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/hedge"
)

var echo = turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { return n, nil })

func BenchmarkLayer(b *testing.B) {
	b.Run("fixed delay", func(b *testing.B) {
		run(b, hedge.Layer[int, int](hedge.Options{Delay: time.Second})(echo))
	})
	b.Run("percentile", func(b *testing.B) {
		run(b, hedge.Layer[int, int](hedge.Options{})(echo))
	})
	b.Run("no time for a hedge", func(b *testing.B) {
		ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
		defer cancel()
		s := hedge.Layer[int, int](hedge.Options{Delay: 2 * time.Hour})(echo)
		b.ReportAllocs()
		for b.Loop() {
			_, _ = s.Call(ctx, 1)
		}
	})
}

// BenchmarkHandwritten is what one would write without turret: no percentile, no
// budget, no care for panics.
func BenchmarkHandwritten(b *testing.B) {
	type result struct {
		resp int
		err  error
	}
	var next turret.Service[int, int] = echo
	run(b, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		results := make(chan result, 2)
		send := func() {
			resp, err := next.Call(ctx, n)
			results <- result{resp, err}
		}
		go send()
		timer := time.NewTimer(time.Second)
		defer timer.Stop()
		select {
		case r := <-results:
			return r.resp, r.err
		case <-timer.C:
			go send()
		}
		r := <-results
		return r.resp, r.err
	}))
}

func run(b *testing.B, s turret.Service[int, int]) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Call(ctx, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func TestACallThatIsNotHedgedAllocatesLittle(t *testing.T) {
	fixed := hedge.Layer[int, int](hedge.Options{Delay: time.Hour})(echo)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = fixed.Call(t.Context(), 1) }), 12.0)
}

func TestACallThatMayNotBeHedgedAllocatesNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fixed := hedge.Layer[int, int](hedge.Options{Delay: time.Hour})(echo)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = fixed.Call(ctx, 1) }))
	measured := hedge.Layer[int, int](hedge.Options{Percentile: 0.999})(echo)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = measured.Call(ctx, 1) }))
	never := hedge.LayerIf[int, int](hedge.OptionsIf[int]{Idempotent: func(int) bool { return false }})(echo)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = never.Call(ctx, 1) }))
}
