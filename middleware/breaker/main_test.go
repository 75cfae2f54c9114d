package breaker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = turret.WithClass(errors.New("kms: internal error"), turret.Transient)

// settings trip on the third failure in a row, for ten seconds.
var settings = gobreaker.Settings{
	Name:        "kms/eu-west-1",
	Timeout:     10 * time.Second,
	ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 3 },
}

// backend answers a call as the request, a function, says.
type backend struct{ calls atomic.Int64 }

type behaviour func(context.Context) error

func (b *backend) Call(ctx context.Context, do behaviour) (string, error) {
	b.calls.Add(1)
	if err := do(ctx); err != nil {
		return "", err
	}
	return "signature", nil
}

func fail(err error) behaviour { return func(context.Context) error { return err } }

var echo = turret.ServiceFunc[int, int](func(_ context.Context, req int) (int, error) { return req, nil })

func works(context.Context) error { return nil }

// trip opens a breaker with the settings above.
func trip(t *testing.T, svc turret.Service[behaviour, string]) {
	t.Helper()
	for range 3 {
		_, err := svc.Call(t.Context(), fail(errDown))
		require.ErrorIs(t, err, errDown)
	}
	require.Error(t, turret.Ready(svc), "three failures did not open the breaker")
}

// start makes a call in a goroutine of its own. The call reaches the backend and
// waits there: what end is given is its result.
func start(ctx context.Context, svc turret.Service[behaviour, string]) (end chan<- error, result <-chan error) {
	in, out := make(chan error), make(chan error, 1)
	go func() {
		_, err := svc.Call(ctx, func(ctx context.Context) error {
			select {
			case err := <-in:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		out <- err
	}()
	return in, out
}
