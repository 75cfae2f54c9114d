package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

func ExampleLayer() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, breaker.Layer, gobreaker.Settings{
		Name:        "greeter",
		Timeout:     10 * time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 2 },
	})
	svc := b.ServiceFunc(func(_ context.Context, name string) (string, error) {
		fmt.Println("called for", name)
		return "", errors.New("connection refused")
	})

	for _, name := range []string{"Ada", "Grace", "Barbara"} {
		if _, err := svc.Call(context.Background(), name); errors.Is(err, breaker.ErrOpen) {
			fmt.Println(err)
		}
	}
	// Output:
	// called for Ada
	// called for Grace
	// breaker greeter: open for another 10s after 2 consecutive failures; the last: connection refused
}

// Two operations on one endpoint, of different types, fail as one.
func ExampleShare() {
	shared := breaker.New(gobreaker.Settings{
		Name:        "database",
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 2 },
	})
	down := errors.New("connection refused")
	read := breaker.Share[int, string](shared)(turret.ServiceFunc[int, string](
		func(context.Context, int) (string, error) { return "", down }))
	write := breaker.Share[string, int](shared)(turret.ServiceFunc[string, int](
		func(context.Context, string) (int, error) { return 0, down }))

	_, _ = read.Call(context.Background(), 1)
	_, _ = write.Call(context.Background(), "row")
	fmt.Println(shared.State(), "and ready:", turret.Ready(read) == nil)
	// Output: open and ready: false
}
