package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/throttle"
)

// A service that refuses everything is soon left alone.
func ExampleLayer() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, throttle.Layer, throttle.Options{
		Rand: rand.New(rand.NewPCG(1, 2)).Float64, // for the same output each time
	})
	calls := 0
	svc := b.ServiceFunc(func(context.Context, string) (string, error) {
		calls++
		return "", turret.WithClass(errors.New("over quota"), turret.Throttled)
	})
	fmt.Println(turret.Describe(svc))

	refused := 0
	for range 1000 {
		if _, err := svc.Call(context.Background(), "digest"); errors.Is(err, throttle.ErrRefused) {
			refused++
		}
	}
	fmt.Println(calls+refused == 1000, calls < 20)
	// Output:
	// throttle K 2, window 10s, probe every 1s
	// func
	// true true
}

// Two operations that draw on one quota throttle together.
func ExampleHistory() {
	history := throttle.NewHistory(10 * time.Second)
	o := throttle.Options{History: history}

	sign := turret.With(turret.NewBuilder[string, string](), throttle.Layer, o).
		ServiceFunc(func(context.Context, string) (string, error) { return "signed", nil })
	decrypt := turret.With(turret.NewBuilder[int, string](), throttle.Layer, o).
		ServiceFunc(func(context.Context, int) (string, error) {
			return "", turret.WithClass(errors.New("over quota"), turret.Throttled)
		})

	fmt.Println(sign.Call(context.Background(), "digest"))
	fmt.Println(decrypt.Call(context.Background(), 42))
	fmt.Println(history.Counts())
	// Output:
	// signed <nil>
	//  over quota
	// 2 1
}
