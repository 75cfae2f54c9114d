package balance_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// Each member has its own attempt timeout below, and a retry above reaches
// another one.
func Example() {
	attempt := timeout.Layer[string, string](2 * time.Second)
	east := attempt(turret.ServiceFunc[string, string](func(context.Context, string) (string, error) {
		return "", errors.New("connection refused")
	}))
	west := attempt(turret.ServiceFunc[string, string](func(_ context.Context, name string) (string, error) {
		return "hello " + name, nil
	}))

	b := turret.With(turret.NewBuilder[string, string](), retry.Layer, retry.Options{MaxAttempts: 5})
	svc := b.Service(balance.New(balance.Options{Names: []string{"east", "west"}}, east, west))

	fmt.Println(svc.Call(context.Background(), "tower"))
	fmt.Println(turret.Describe(svc))
	// Output:
	// hello tower <nil>
	// retry 5 attempts, backoff 50ms–5s
	// balance by peak latency over 10s: east, west
	//   timeout 2s
	//   func
	//   timeout 2s
	//   func
}

// Members that a service discovery finds, and loses.
func ExampleBalancer_Follow() {
	svc := balance.New[string, string](balance.Options{
		Wait:      true,
		OnRemoved: func(name string, member any) { fmt.Println("closing", name, turret.Close(member)) },
	})
	changes := make(chan balance.Change[string, string])
	go func() {
		defer close(changes)
		for _, name := range []string{"10.0.0.1", "10.0.0.2"} {
			changes <- balance.Change[string, string]{Name: name, Service: turret.ServiceFunc[string, string](
				func(context.Context, string) (string, error) { return name, nil })}
		}
		changes <- balance.Change[string, string]{Name: "10.0.0.1"}
	}()
	if err := svc.Follow(context.Background(), changes); err != nil {
		fmt.Println(err)
	}
	fmt.Println(svc.Call(context.Background(), ""))
	// Output:
	// closing 10.0.0.1 <nil>
	// 10.0.0.2 <nil>
}

func ExampleOptions_onChange() {
	down := turret.ServiceFunc[string, string](func(context.Context, string) (string, error) {
		return "", errors.New("connection refused")
	})
	up := turret.ServiceFunc[string, string](func(context.Context, string) (string, error) { return "", nil })
	svc := balance.New(balance.Options{
		Names:    []string{"east", "west"},
		OnChange: func(e balance.Event) { fmt.Printf("%s is out: %v\n", e.Name, e.Err) },
	}, down, up)
	for range 100 {
		_, _ = svc.Call(context.Background(), "")
	}
	// Output: east is out: connection refused
}
