package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
)

// A call that finds no token waits for one, or is refused where it may not.
func ExampleLayer() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, ratelimit.Layer, ratelimit.Options{
		Rate:    2, // a second
		Burst:   1,
		MaxWait: 100 * time.Millisecond,
	})
	svc := b.ServiceFunc(func(_ context.Context, name string) (string, error) {
		return "hello " + name, nil
	})
	fmt.Println(turret.Describe(svc))

	for _, name := range []string{"Ada", "Grace"} {
		greeting, err := svc.Call(context.Background(), name)
		if errors.Is(err, ratelimit.ErrLimited) {
			after, _ := turret.RetryAfter(err)
			fmt.Println(turret.Classify(err), "– again in", after.Round(500*time.Millisecond))
			continue
		}
		fmt.Println(greeting)
	}
	// Output:
	// rate limit 2/s, burst 1, waits 100ms at most
	// func
	// hello Ada
	// rejected – again in 500ms
}

// Two services that draw on one quota share the limiter that keeps it.
func ExampleTokenBucket() {
	quota := ratelimit.New(0.01, 2)
	limited := ratelimit.Options{Limiter: quota, MaxWait: ratelimit.NoWait}

	sign := turret.With(turret.NewBuilder[string, string](), ratelimit.Layer, limited).
		ServiceFunc(func(context.Context, string) (string, error) { return "signed", nil })
	decrypt := turret.With(turret.NewBuilder[int, string](), ratelimit.Layer, limited).
		ServiceFunc(func(context.Context, int) (string, error) { return "decrypted", nil })

	ctx := context.Background()
	fmt.Println(sign.Call(ctx, "digest"))
	fmt.Println(decrypt.Call(ctx, 42))
	_, err := sign.Call(ctx, "digest")
	fmt.Println(errors.Is(err, ratelimit.ErrLimited))
	// Output:
	// signed <nil>
	// decrypted <nil>
	// true
}

// A limiter that slows down when the service says that it has had enough.
func ExampleAdaptive() {
	limiter := ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: 500, Floor: 10})

	busy := turret.WithClass(errors.New("ThrottlingException"), turret.Throttled)
	svc := turret.With(turret.NewBuilder[string, string](), ratelimit.Layer, ratelimit.Options{Limiter: limiter}).
		ServiceFunc(func(context.Context, string) (string, error) { return "", busy })

	fmt.Println(limiter.Rate())
	_, err := svc.Call(context.Background(), "digest")
	fmt.Println(err)
	fmt.Println(limiter.Rate())
	// Output:
	// 500
	// ThrottlingException
	// 350
}
