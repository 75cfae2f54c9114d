package turret_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// A stack around a function of any types. What the function's errors mean is
// said once, at the bottom; here, a missing file is an answer and not a failure.
func Example() {
	read := func(ctx context.Context, name string) (string, error) {
		return "", fs.ErrNotExist // a flaky network file system, say
	}
	classified := turret.MapError(turret.ServiceFunc[string, string](read), func(err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return turret.WithClass(err, turret.Permanent)
		}
		return err
	})

	b := turret.NewBuilder[string, string]()
	b = turret.With(b, timeout.Layer, 10*time.Second)
	b = turret.With(b, retry.Layer, retry.Options{MaxAttempts: 5})
	b = turret.With(b, timeout.Layer, 2*time.Second)
	files := b.Service(classified)

	_, err := files.Call(context.Background(), "motd")
	fmt.Println(err)
	fmt.Println(turret.Describe(files))
	// Output:
	// file does not exist
	// timeout 10s
	// retry 5 attempts, backoff 50ms–5s
	// timeout 2s
	// map error
	// func
}

func ExampleLayerFunc() {
	type Service = turret.Service[string, string]
	shout := turret.LayerFunc("shout", func(ctx context.Context, req string, next Service) (string, error) {
		resp, err := next.Call(ctx, req)
		return strings.ToUpper(resp), err
	})
	greet := turret.NewBuilder[string, string]().Use(shout).ServiceFunc(
		func(_ context.Context, name string) (string, error) { return "hello " + name, nil })

	fmt.Println(greet.Call(context.Background(), "tower"))
	// Output: HELLO TOWER <nil>
}

func ExampleClassify() {
	overQuota := turret.WithClass(errors.New("over quota"), turret.Throttled)
	fmt.Println(turret.Classify(fmt.Errorf("sign: %w", overQuota)))
	fmt.Println(turret.Classify(errors.New("who knows")))
	// Output:
	// throttled
	// unknown
}
