package coalesce_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/coalesce"
)

// Ten visitors ask for the same page at once. It is rendered once.
func ExampleLayer() {
	type request struct{ Path, TraceID string }

	b := turret.NewBuilder[request, string]()
	b = turret.With(b, coalesce.Layer, func(r request) string { return r.Path })
	var rendered atomic.Int64
	pages := b.ServiceFunc(func(_ context.Context, r request) (string, error) {
		rendered.Add(1)
		<-time.After(200 * time.Millisecond)
		return "page " + r.Path, nil
	})

	var visitors sync.WaitGroup
	var served atomic.Int64
	for i := range 10 {
		visitors.Go(func() {
			if _, err := pages.Call(context.Background(), request{"/", fmt.Sprint(i)}); err == nil {
				served.Add(1)
			}
		})
	}
	visitors.Wait()
	fmt.Println("rendered", rendered.Load(), "served", served.Load())
	fmt.Println(turret.Describe(pages))
	// Output:
	// rendered 1 served 10
	// coalesce
	// func
}
