package hedge_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/hedge"
)

// The first call of this service hangs, as one in a thousand might. It is sent
// again after 20 ms, and the second answer comes first.
func ExampleLayer() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, hedge.Layer, hedge.Options{
		Delay:   20 * time.Millisecond,
		Budget:  hedge.NewBudget(1), // hedge every call; 5% is the default
		OnHedge: func(_ context.Context, e hedge.Event) { fmt.Println("hedge", e.Hedge) },
	})
	var calls atomic.Int64
	svc := b.ServiceFunc(func(ctx context.Context, name string) (string, error) {
		if calls.Add(1) == 1 {
			<-ctx.Done() // a loser's context ends
			return "", ctx.Err()
		}
		return "hello " + name, nil
	})

	fmt.Println(svc.Call(context.Background(), "Ada"))
	fmt.Println(turret.Describe(svc))
	// Output:
	// hedge 1
	// hello Ada <nil>
	// hedge after 20ms, budget 100%
	// func
}

// Of the requests of a store, only reads may be carried out twice.
func ExampleLayerIf() {
	type request struct{ Key, Value string }
	b := turret.NewBuilder[request, string]()
	b = turret.With(b, hedge.LayerIf, hedge.OptionsIf[request]{
		Options:    hedge.Options{Percentile: 0.99},
		Idempotent: func(r request) bool { return r.Value == "" },
	})
	store := b.ServiceFunc(func(_ context.Context, r request) (string, error) { return r.Value, nil })
	fmt.Println(turret.Describe(store))
	// Output:
	// hedge past the 99th percentile, budget 5%, idempotent requests
	// func
}
