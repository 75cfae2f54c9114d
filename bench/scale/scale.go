// Package scale measures how the cost of a call grows: with the layers of a stack,
// with its callers, with calls that wait in it, and with the members of a balance.
package scale

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// How long is measured, and how often; medians count.
type Effort struct {
	For    time.Duration
	Rounds int
}

// A Point is a cost at one size.
type Point struct {
	N  int     // layers, callers or members
	Ns float64 // a call, by the wall's clock: calls of many callers overlap
}

type (
	service = turret.Service[int, int]
	layer   = turret.Layer[int, int]
)

var answer = turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { return n, nil })

// four is the stack that everyone needs, with a rate and a deadline out of reach.
func four(inner service) service {
	const plenty = 1e9
	return turret.Stack(
		timeout.Layer[int, int](time.Minute),
		retry.Layer[int, int](retry.Options{}),
		ratelimit.Layer[int, int](ratelimit.Options{Rate: plenty, Burst: plenty}),
		breaker.Layer[int, int](gobreaker.Settings{}),
	)(inner)
}

// Layers measures stacks of so many layers that do nothing.
func Layers(e Effort, sizes ...int) []Point {
	nothing := turret.LayerFunc("nothing", func(ctx context.Context, n int, next service) (int, error) { return next.Call(ctx, n) })
	return e.measure(sizes, func(n int) (service, int) {
		return turret.Stack(slices.Repeat([]layer{nothing}, n)...)(answer), 1
	})
}

// Callers measures one stack of four, called by so many goroutines.
func Callers(e Effort, sizes ...int) []Point {
	return e.measure(sizes, func(n int) (service, int) { return four(answer), n })
}

// Members measures a balance over so many members.
func Members(e Effort, sizes ...int) []Point {
	return e.measure(sizes, func(n int) (service, int) {
		return balance.New(balance.Options{}, slices.Repeat([]service{answer}, n)...), 1
	})
}

// measure measures a service of each size, called by so many.
func (e Effort) measure(sizes []int, of func(n int) (service, int)) []Point {
	rounds := make([][]float64, len(sizes))
	for range e.Rounds {
		for i, n := range sizes {
			svc, callers := of(n)
			rounds[i] = append(rounds[i], perCall(e.For, svc, callers))
		}
	}
	var points []Point
	for i, n := range sizes {
		slices.Sort(rounds[i])
		points = append(points, Point{n, rounds[i][len(rounds[i])/2]})
	}
	return points
}

// perCall calls for a while and returns how many nanoseconds passed for each call.
func perCall(d time.Duration, svc service, callers int) float64 {
	const batch = 100 // calls for each look at the clock
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var calls atomic.Int64
	var under sync.WaitGroup
	start := time.Now()
	for range callers {
		under.Go(func() {
			for {
				for range batch {
					if _, err := svc.Call(ctx, 1); err != nil {
						panic(err) // the service answers, so a layer is broken
					}
				}
				calls.Add(batch)
				if time.Since(start) >= d {
					return
				}
			}
		})
	}
	under.Wait()
	return float64(time.Since(start)) / float64(calls.Load())
}

// A Weight is what calls weigh that wait for a service, in bytes each.
type Weight struct {
	N           int
	Bare, Stack float64 // waiting in a goroutine for the service itself, and through the stack of four
}

// InFlight measures calls that are under way at the same time.
func InFlight(sizes ...int) []Weight {
	var weights []Weight
	for _, n := range sizes {
		bare := weigh(n, func(s service) service { return s })
		weights = append(weights, Weight{n, bare, weigh(n, four)})
	}
	return weights
}

// weigh returns how much memory each of n calls holds. Of fewer than a hundred it
// tells little, for the runtime hands stacks out from pieces of 32 kB.
func weigh(n int, stack layer) float64 {
	release := make(chan struct{})
	var arrived, under sync.WaitGroup
	svc := stack(turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) {
		arrived.Done()
		<-release
		return n, nil
	}))
	before := inUse()
	arrived.Add(n)
	for range n {
		under.Go(func() { _, _ = svc.Call(context.Background(), 1) })
	}
	arrived.Wait()
	after := inUse()
	close(release)
	under.Wait()
	return (after - before) / float64(n)
}

// inUse is the memory of heap and stacks in use.
func inUse() float64 {
	runtime.GC()
	runtime.GC() // frees what pools held on to in the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) + float64(m.StackInuse)
}
