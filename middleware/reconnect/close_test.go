package reconnect_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/reconnect"
)

var errClose = errors.New("logout failed")

func TestCloseClosesTheCurrentServiceAfterItsCallsInFlight(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		token.close = func() error { return errClose }
		inFlight := begin(t.Context(), svc, takes(time.Minute, nil))
		closed := make(chan error)
		go func() { closed <- turret.Close(svc) }()
		synctest.Wait()
		_, err := svc.Call(t.Context(), well)
		assert.Equal(t, reconnect.ErrClosed, err)
		assert.Equal(t, turret.Rejected, turret.Classify(err))
		assert.EqualError(t, err, "reconnect: closed")
		assert.Equal(t, []int{0}, token.closes())

		assert.ErrorIs(t, <-closed, errClose)
		assert.NoError(t, inFlight.wait().err)
		assert.ErrorIs(t, turret.Close(svc), errClose, "and says so again")
		assert.Equal(t, []int{1}, token.closes())
	})
}

func TestCloseOfAServiceThatWasNeverUsed(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		require.NoError(t, turret.Close(svc))
		_, err := svc.Call(t.Context(), well)
		assert.Equal(t, reconnect.ErrClosed, err)
		assert.Zero(t, token.attempts)
	})
}

func TestCloseEndsAConnectAndThoseWhoWaitForIt(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		token.connect = hangs
		connecting, waiting := begin(t.Context(), svc, well), begin(t.Context(), svc, well)
		require.NoError(t, turret.Close(svc))
		assert.EqualError(t, connecting.wait().err, "reconnect: closed, while it was connecting: context canceled")
		assert.ErrorIs(t, connecting.err, reconnect.ErrClosed)
		assert.Equal(t, turret.Rejected, turret.Outcome(t.Context(), connecting.err))
		assert.Equal(t, reconnect.ErrClosed, waiting.wait().err)
	})
}

func TestConnectionMadeDuringCloseIsClosed(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		token.connect = takes(time.Second, nil)
		connecting, waiting := begin(t.Context(), svc, well), begin(t.Context(), svc, well)
		require.NoError(t, turret.Close(svc))
		assert.Equal(t, []int{1}, token.closes())
		assert.Equal(t, reconnect.ErrClosed, connecting.wait().err)
		assert.Equal(t, time.Second, connecting.took)
		assert.Equal(t, reconnect.ErrClosed, waiting.wait().err)
		assert.Zero(t, waiting.took, "who waits is told at once")
	})
}

func TestCloseWaitsForTheClosingOfBrokenConnections(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		start := time.Now()
		token.close = func() error { <-time.After(time.Second); return errClose }
		_, _ = svc.Call(t.Context(), fails(errKilled))
		assert.ErrorIs(t, turret.Close(svc), errClose)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func TestWhatClosingABrokenConnectionSaidIsDropped(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		token.close = func() error { return errClose }
		_, _ = svc.Call(t.Context(), fails(errKilled))
		synctest.Wait()
		assert.Equal(t, []int{1}, token.closes())
		assert.NoError(t, turret.Close(svc))
	})
}

func TestPanicOfAConnectionsCloseEndsNoProgram(t *testing.T) {
	for want, end := range map[string]func(){
		"reconnect: closing a connection panicked: boom": func() { panic("boom") },
		"the call panicked, or ended its goroutine":      runtime.Goexit,
	} {
		bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
			token.close = func() error { end(); return nil }
			_, _ = svc.Call(t.Context(), fails(errKilled))
			synctest.Wait()
			<-time.After(time.Second)
			_, err := svc.Call(context.Background(), well)
			require.NoError(t, err)
			assert.ErrorContains(t, turret.Close(svc), want)
		})
	}
}

func TestAHookThatPanicsOverAPanicKeepsNoConnection(t *testing.T) {
	for name, hook := range map[string]func(){"panic": func() { panic("hook") }, "exit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			bubble(t, reconnect.Options{OnBroken: func(context.Context, error) { hook() }}, func(t *testing.T, token *token, svc service) {
				ended := make(chan any)
				go func() {
					defer func() { ended <- recover() }()
					_, _ = svc.Call(t.Context(), func(context.Context) error { panic("call") })
				}()
				<-ended
				synctest.Wait()
				assert.Equal(t, []int{1}, token.closes())
			})
		})
	}
}
