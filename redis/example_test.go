package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
	fleet "github.com/turretgo/turret/redis"
)

// Two replicas of a service share one quota.
func ExampleLimiter() {
	server, err := miniredis.Run() // yours runs somewhere
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	replica := func() (svc turret.Service[string, string], end func()) {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
		limiter := fleet.NewLimiter(fleet.LimiterOptions{
			Client:     client,
			Key:        "kms/rsa",
			Rate:       0.01, // a second
			Burst:      2,
			Replicas:   2,
			OnFallback: func(err error) { log.Print("signing at our own share: ", err) },
		})
		b := turret.NewBuilder[string, string]()
		b = turret.With(b, ratelimit.Layer, ratelimit.Options{Limiter: limiter, MaxWait: ratelimit.NoWait})
		svc = b.ServiceFunc(func(_ context.Context, digest string) (string, error) { return "signed", nil })
		return svc, func() { limiter.Close(); client.Close() }
	}
	one, end := replica()
	defer end()
	other, end := replica()
	defer end()

	ctx := context.Background()
	fmt.Println(one.Call(ctx, "digest"))
	fmt.Println(other.Call(ctx, "digest"))
	_, err = one.Call(ctx, "digest")
	fmt.Println(turret.Classify(err))
	// Output:
	// signed <nil>
	// signed <nil>
	// rejected
}

// Two replicas of a service share one circuit breaker.
func ExampleBreaker() {
	server, err := miniredis.Run() // yours runs somewhere
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	opened := make(chan string)
	replica := func(name string) (svc turret.Service[string, string], end func()) {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
		b := turret.NewBuilder[string, string]()
		b = turret.With(b, fleet.BreakerLayer, fleet.BreakerOptions{
			Client: client,
			Key:    "kms/rsa",
			Settings: gobreaker.Settings{
				Name:        "kms",
				Timeout:     10 * time.Second,
				Interval:    30 * time.Second,
				ReadyToTrip: func(c gobreaker.Counts) bool { return c.Requests >= 4 && c.TotalFailures*2 > c.Requests },
				OnStateChange: func(_ string, _, to gobreaker.State) {
					opened <- fmt.Sprintf("replica %s is %v", name, to)
				},
			},
			Timeout:    time.Second,
			OnFallback: func(err error) { log.Print("a breaker of our own: ", err) },
		})
		svc = b.ServiceFunc(func(_ context.Context, digest string) (string, error) {
			return "", errors.New("connection refused")
		})
		return svc, func() { turret.Close(svc); client.Close() }
	}
	one, end := replica("one")
	defer end()
	other, end := replica("other")
	defer end()

	ctx := context.Background()
	for range 2 { // too few for either
		one.Call(ctx, "digest")
		other.Call(ctx, "digest")
	}
	first, second := <-opened, <-opened
	fmt.Println(min(first, second))
	fmt.Println(max(first, second))
	// Output:
	// replica one is open
	// replica other is open
}
