package beside_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret/middleware/internal/beside"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCallHasItsCallersValuesAndAnEndOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var calls beside.Calls
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, 1))
		cancel()
		start, ended := time.Now(), time.Duration(0)
		require.True(t, calls.Go(ctx, func(ctx context.Context) {
			require.Equal(t, 1, ctx.Value(key{}))
			<-ctx.Done()
			ended = time.Since(start)
		}))
		<-time.After(time.Hour)
		calls.Close()
		require.Equal(t, beside.Patience, ended)
	})
}

func TestCloseEndsCallsAndLetsNoneBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls beside.Calls
		ended := 0
		for range 3 {
			calls.Go(t.Context(), func(ctx context.Context) { <-ctx.Done() })
		}
		calls.Go(t.Context(), func(ctx context.Context) { <-ctx.Done(); <-time.After(time.Second); ended++ })
		start := time.Now()
		calls.Close()
		require.Equal(t, time.Second, time.Since(start), "it waits for them")
		require.Equal(t, 1, ended)
		require.False(t, calls.Go(t.Context(), func(context.Context) { ended++ }))
		calls.Close()
		require.Equal(t, 1, ended)
	})
}

func TestPanicAndGoexitEndTheirCallAlone(t *testing.T) {
	var calls beside.Calls
	unwound := make(chan bool, 2)
	calls.Go(t.Context(), func(context.Context) { defer func() { unwound <- true }(); panic("driver") })
	calls.Go(t.Context(), func(context.Context) { defer func() { unwound <- true }(); runtime.Goexit() })
	require.True(t, <-unwound)
	require.True(t, <-unwound)
	calls.Close()
}

func TestZeroCallsCloseAtOnce(t *testing.T) {
	var calls beside.Calls
	calls.Close()
}
