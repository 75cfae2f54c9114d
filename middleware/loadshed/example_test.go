package loadshed_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/loadshed"
	"github.com/turretgo/turret/middleware/retry"
)

// While the breaker is open, no call gets as far as the retry.
func ExampleLayer() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, loadshed.Layer, loadshed.Options{})
	b = turret.With(b, retry.Layer, retry.Options{MaxAttempts: 2, Backoff: retry.Backoff{Max: time.Millisecond}})
	b = turret.With(b, breaker.Layer, gobreaker.Settings{
		Timeout:     10 * time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 2 },
	})
	svc := b.ServiceFunc(func(context.Context, string) (string, error) {
		return "", errors.New("connection refused")
	})

	_, err := svc.Call(context.Background(), "Ada")
	fmt.Println(err)
	_, err = svc.Call(context.Background(), "Grace")
	fmt.Println(err)
	after, _ := turret.RetryAfter(err)
	fmt.Println(errors.Is(err, loadshed.ErrOverloaded), turret.Classify(err), after.Round(time.Second))
	// Output:
	// retry: all attempts failed, after 2 attempts: connection refused (2 times)
	// loadshed: overloaded: breaker: open for another 10s after 2 consecutive failures; the last: connection refused
	// true rejected 10s
}

// A call with too little time left is not worth beginning.
func ExampleOptions_check() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, loadshed.Layer, loadshed.Options{Check: func(ctx context.Context) error {
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < 50*time.Millisecond {
			return errors.New("less than 50ms until the deadline")
		}
		return nil
	}})
	svc := b.ServiceFunc(func(_ context.Context, name string) (string, error) {
		return "hello " + name, nil
	})

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := svc.Call(ctx, "Ada")
	fmt.Println(err)
	fmt.Println(svc.Call(context.Background(), "Grace"))
	// Output:
	// loadshed: overloaded: less than 50ms until the deadline
	// hello Grace <nil>
}
