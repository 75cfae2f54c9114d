package fleet_test

import (
	"context"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

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
