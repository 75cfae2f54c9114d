package reconnect_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/reconnect"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// A session is killed in the middle of a call. The retry above finds a new one.
func ExampleNew() {
	sessions := 0
	open := func(context.Context) (turret.Service[string, string], error) {
		sessions++
		number, calls := sessions, 0
		session := turret.ServiceFunc[string, string](func(_ context.Context, digest string) (string, error) {
			if calls++; number == 1 && calls == 2 {
				return "", errors.New("CKR_SESSION_HANDLE_INVALID")
			}
			return fmt.Sprintf("%s signed in session %d", digest, number), nil
		})
		return timeout.Layer[string, string](2 * time.Second)(session), nil
	}
	svc := turret.With(turret.NewBuilder[string, string](), retry.Layer, retry.Options{WaitRejected: true}).
		Service(reconnect.New(reconnect.Options{
			MinBackoff: time.Millisecond,
			OnBroken:   func(_ context.Context, err error) { fmt.Println("broken:", err) },
		}, open))
	defer turret.Close(svc)

	ctx := context.Background()
	fmt.Println(svc.Call(ctx, "first"))
	fmt.Println(svc.Call(ctx, "second"))
	// Output:
	// first signed in session 1 <nil>
	// broken: CKR_SESSION_HANDLE_INVALID
	// second signed in session 2 <nil>
}

// While there is no connection, and it is too soon to try again, calls are told
// when to come back.
func ExampleBackoffError() {
	svc := reconnect.New(reconnect.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour},
		func(context.Context) (turret.Service[string, string], error) {
			return nil, errors.New("no token in the slot")
		})
	_, err := svc.Call(context.Background(), "digest")
	fmt.Println(err)

	_, err = svc.Call(context.Background(), "digest")
	var backoff *reconnect.BackoffError
	if errors.As(err, &backoff) {
		fmt.Println(turret.Classify(err), "because:", backoff.Last)
	}
	// Output:
	// reconnect: cannot connect: no token in the slot
	// rejected because: no token in the slot
}
