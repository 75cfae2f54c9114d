package adaptive_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
	"github.com/turretgo/turret/middleware/timeout"
)

// The limit goes close to the service, and above the timeout of an attempt.
func ExampleLayer() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, adaptive.Layer, adaptive.Options{Max: 200, MaxWait: 50 * time.Millisecond})
	b = turret.With(b, timeout.Layer, time.Second)
	svc := b.ServiceFunc(func(_ context.Context, name string) (string, error) {
		return "hello " + name, nil
	})
	fmt.Println(turret.Describe(svc))
	fmt.Println(svc.Call(context.Background(), "Ada"))
	// Output:
	// adaptive concurrency, 1 to 200, queue 1024, waits 50ms at most
	// timeout 1s
	// func
	// hello Ada <nil>
}

// Two services on one endpoint share what is known of its capacity.
func ExampleShare() {
	limit := adaptive.New(adaptive.Options{Initial: 1, MaxQueue: adaptive.NoQueue})

	verify := turret.With(turret.NewBuilder[string, bool](), adaptive.Share, limit).
		ServiceFunc(func(context.Context, string) (bool, error) { return true, nil })
	sign := turret.With(turret.NewBuilder[string, string](), adaptive.Share, limit).
		ServiceFunc(func(ctx context.Context, digest string) (string, error) {
			fmt.Println("under way:", limit.InFlight(), "of", limit.Limit())
			_, err := verify.Call(ctx, digest) // one more at the same time
			fmt.Println(errors.Is(err, adaptive.ErrLimited), turret.Classify(err))
			return "signed", nil
		})

	fmt.Println(sign.Call(context.Background(), "digest"))
	fmt.Println(verify.Call(context.Background(), "digest"))
	// Output:
	// under way: 1 of 1
	// true rejected
	// signed <nil>
	// true <nil>
}

// A service that throttles every call has its limit halved, window by window.
func ExampleOptions_onChange() {
	busy := turret.WithClass(errors.New("ThrottlingException"), turret.Throttled)
	layer := adaptive.Layer[string, string](adaptive.Options{
		Min:    4,
		Window: time.Nanosecond,
		OnChange: func(c adaptive.Change) {
			fmt.Printf("%d → %d: %v\n", c.From, c.To, c.Reason)
		},
	})
	svc := layer(turret.ServiceFunc[string, string](func(context.Context, string) (string, error) { return "", busy }))
	for range 100 {
		_, _ = svc.Call(context.Background(), "digest")
	}
	// Output:
	// 20 → 10: overload
	// 10 → 5: overload
	// 5 → 4: overload
}
