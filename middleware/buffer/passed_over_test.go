package buffer

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

// A caller may find the end of its context and that of the worker at the same time.
func TestARequestThatTheWorkerPassedOverWasNotUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(turret.ServiceFunc[int, int](nil), Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := &request[int, int]{ctx: ctx}
		_, err := b.worker.enter(b, r)
		require.NoError(t, err)
		synctest.Wait()
		b.Abort(nil)
		require.Equal(t, &ClosedError{}, b.worker.leftBehind(r))
	})
}
