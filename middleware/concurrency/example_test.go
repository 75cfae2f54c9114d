package concurrency_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/concurrency"
)

// One call at a time, and nobody waits.
func ExampleLayer() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, concurrency.Layer, concurrency.Options{Max: 1, MaxQueue: concurrency.NoQueue})

	var svc turret.Service[string, string]
	svc = b.ServiceFunc(func(ctx context.Context, name string) (string, error) {
		_, err := svc.Call(ctx, "another") // while this call is under way
		fmt.Println(err)
		fmt.Println(errors.Is(err, concurrency.ErrFull), turret.Classify(err))
		return "hello " + name, nil
	})
	fmt.Println(turret.Describe(svc))
	fmt.Println(svc.Call(context.Background(), "Ada"))
	// Output:
	// concurrency 1, no queue
	// func
	// concurrency: full: 1 under way, 0 waiting
	// true rejected
	// hello Ada <nil>
}

// Two operations on one database share its connections, and reports give way to
// lookups when there is a queue.
func ExampleLimit() {
	connections := concurrency.New(2)

	lookup := turret.With(turret.NewBuilder[int, string](), concurrency.Layer,
		concurrency.Options{Limit: connections}).
		ServiceFunc(func(context.Context, int) (string, error) { return "Ada", nil })
	report := turret.With(turret.NewBuilder[string, int](), concurrency.Layer,
		concurrency.Options{Limit: connections, MaxQueue: 1}).
		ServiceFunc(func(context.Context, string) (int, error) {
			fmt.Println("connections in use:", connections.InUse(), "of", connections.Max())
			return 42, nil
		})

	fmt.Println(lookup.Call(context.Background(), 1))
	fmt.Println(report.Call(context.Background(), "users"))
	// Output:
	// Ada <nil>
	// connections in use: 1 of 2
	// 42 <nil>
}
