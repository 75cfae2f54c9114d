package balance_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
)

var echo = turret.ServiceFunc[int, int](func(_ context.Context, req int) (int, error) { return req, nil })

func echoes(n int) []turret.Service[int, int] {
	members := make([]turret.Service[int, int], n)
	for i := range members {
		members[i] = echo
	}
	return members
}

func TestSuccessAllocatesNothing(t *testing.T) {
	for _, l := range []balance.Load{balance.PeakEWMA, balance.Pending} {
		s, ctx := balance.New(balance.Options{Load: l}, echoes(3)...), t.Context()
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Call(ctx, 1) }))
	}
}

// BenchmarkLayer also shows that a pick does not take longer from more members.
func BenchmarkLayer(b *testing.B) {
	for _, n := range []int{1, 3, 1000} {
		b.Run(fmt.Sprintf("%d members", n), func(b *testing.B) {
			run(b, balance.New(balance.Options{}, echoes(n)...))
		})
	}
	b.Run("3 members, pending", func(b *testing.B) {
		run(b, balance.New(balance.Options{Load: balance.Pending}, echoes(3)...))
	})
}

// BenchmarkHandwritten is a round robin, which knows nothing of its members.
func BenchmarkHandwritten(b *testing.B) {
	members := echoes(3)
	var next atomic.Uint64
	run(b, turret.ServiceFunc[int, int](func(ctx context.Context, req int) (int, error) {
		return members[next.Add(1)%uint64(len(members))].Call(ctx, req)
	}))
}

func run(b *testing.B, s turret.Service[int, int]) {
	ctx := context.Background()
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = s.Call(ctx, 1)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = s.Call(ctx, 1)
			}
		})
	})
}
