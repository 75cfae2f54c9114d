package reconnect_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/buffer"
	"github.com/turretgo/turret/middleware/reconnect"
	"github.com/turretgo/turret/middleware/timeout"
)

func TestMakesItsServiceOnFirstUse(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		assert.Zero(t, token.attempts)
		for range 3 {
			resp, err := svc.Call(t.Context(), well)
			require.NoError(t, err)
			assert.Equal(t, 1, resp)
		}
		assert.Equal(t, 1, token.attempts)
	})
}

func TestMakesItAgainAfterItBroke(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		_, err := svc.Call(t.Context(), takes(time.Second, nil))
		require.NoError(t, err)
		resp, err := svc.Call(t.Context(), fails(errKilled))
		assert.Equal(t, errKilled, err, "the call that broke it gets its error unchanged")
		assert.Equal(t, 1, resp)
		resp, err = svc.Call(t.Context(), well)
		require.NoError(t, err, "after a session that was of use, at once")
		assert.Equal(t, 2, resp)
	})
}

func TestBrokenIsJudgedByOutcome(t *testing.T) {
	for _, tc := range []struct {
		err    error
		broken bool
	}{
		{errKilled, true},
		{turret.WithClass(errKilled, turret.Transient), true},
		{context.Canceled, true}, // the service's own doing
		{turret.WithClass(errKilled, turret.Throttled), false},
		{turret.WithClass(errKilled, turret.Rejected), false},
		{errNoKey, false},
	} {
		bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
			_, _ = svc.Call(t.Context(), takes(time.Second, nil))
			_, err := svc.Call(t.Context(), fails(tc.err))
			assert.Equal(t, tc.err, err)
			_, err = svc.Call(t.Context(), well)
			require.NoError(t, err)
			assert.Equal(t, tc.broken, token.attempts == 2, "%v of class %v", tc.err, turret.Classify(tc.err))
		})
	}
}

func TestBrokenOptionDecides(t *testing.T) {
	var asked []error
	o := reconnect.Options{Broken: func(err error) bool {
		asked = append(asked, err)
		return err == errNoKey
	}}
	bubble(t, o, func(t *testing.T, token *token, svc service) {
		_, _ = svc.Call(t.Context(), takes(time.Second, nil))
		_, _ = svc.Call(t.Context(), fails(errKilled))
		assert.Equal(t, 1, token.attempts)
		_, _ = svc.Call(t.Context(), fails(errNoKey))
		_, _ = svc.Call(t.Context(), well)
		assert.Equal(t, 2, token.attempts)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = svc.Call(ctx, hangs)
		assert.Equal(t, []error{errKilled, errNoKey}, asked, "never about a caller who has gone")
	})
}

func TestCallerWhoGoesAwayBreaksNothing(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := svc.Call(ctx, hangs)
			assert.Equal(t, context.DeadlineExceeded, err)
			cancel()
		}
		assert.Equal(t, 1, token.attempts)
	})
}

func TestTimeoutOfAnAttemptBelowBreaksAConnectionThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := &token{}
		svc := reconnect.New(reconnect.Options{}, func(ctx context.Context) (service, error) {
			s, err := token.open(ctx)
			return timeout.Layer[does, int](time.Second)(s), err
		})
		_, err := svc.Call(t.Context(), hangs)
		assert.ErrorIs(t, err, timeout.ErrExceeded)
		<-time.After(time.Second)
		resp, err := svc.Call(t.Context(), well)
		require.NoError(t, err)
		assert.Equal(t, 2, resp)
		require.NoError(t, turret.Close(svc))
		assert.Equal(t, []int{1, 1}, token.closes())
	})
}

func TestWorkerThatItsHandlerKilledIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := &token{}
		svc := reconnect.New(reconnect.Options{}, func(ctx context.Context) (service, error) {
			s, err := token.open(ctx)
			return buffer.New(s, buffer.Options{}), err
		})
		_, _ = svc.Call(t.Context(), takes(time.Second, nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := svc.Call(ctx, func(context.Context) error { <-time.After(time.Minute); panic("boom") })
		assert.Equal(t, context.DeadlineExceeded, err)
		<-time.After(time.Minute)
		_, err = svc.Call(t.Context(), well)
		assert.ErrorIs(t, err, buffer.ErrClosed)
		resp, err := svc.Call(t.Context(), well)
		require.NoError(t, err)
		assert.Equal(t, 2, resp)
		require.NoError(t, turret.Close(svc))
		assert.Equal(t, []int{1, 1}, token.closes())
	})
}

func TestOneConnectsAtATimeAndTheOthersWait(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		token.connect = takes(time.Second, nil)
		var calls []*call
		for range 50 {
			calls = append(calls, begin(t.Context(), svc, well))
		}
		for _, call := range calls {
			require.NoError(t, call.wait().err)
			assert.Equal(t, 1, call.resp)
			assert.Equal(t, time.Second, call.took)
		}
		assert.Equal(t, 1, token.attempts)
	})
}

func TestWaitForWhoConnectsEndsWithTheContext(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		token.connect = takes(time.Minute, nil)
		begin(t.Context(), svc, well)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		second := begin(ctx, svc, well).wait()
		assert.Equal(t, context.DeadlineExceeded, second.err)
		assert.Equal(t, time.Second, second.took)
	})
}

func TestCallerWhoHasGoneDoesNotConnect(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 {
			_, err := svc.Call(ctx, well)
			assert.Equal(t, context.Canceled, err)
		}
		assert.Zero(t, token.attempts)
	})
}

func TestCallerWhoseConnectFailedGetsTheErrorAndTheOthersABackoff(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		token.connect = takes(time.Second, errRefused)
		first, second := begin(t.Context(), svc, well), begin(t.Context(), svc, well)
		assert.EqualError(t, first.wait().err, "reconnect: cannot connect: connection refused")
		assert.ErrorIs(t, first.err, errRefused)
		assert.Equal(t, turret.Unknown, turret.Outcome(t.Context(), first.err), "of the class that it has")

		assert.ErrorIs(t, second.wait().err, reconnect.ErrBackoff)
		assert.ErrorContains(t, second.err, "connection refused")
		assert.NotErrorIs(t, second.err, errRefused)
		assert.Equal(t, time.Second, second.took)
		assert.Equal(t, 1, token.attempts)
	})
}

func TestAConnectThatItsCallerCutShortPoisonsNobody(t *testing.T) {
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
			token.connect = func(ctx context.Context) error {
				select {
				case <-time.After(time.Second):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			if end == context.Canceled {
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(time.Second/2, cancel)
			}
			first, second := begin(ctx, svc, well), begin(t.Context(), svc, well)
			assert.ErrorIs(t, first.wait().err, end)
			assert.Equal(t, turret.Canceled, turret.Outcome(ctx, first.err))
			assert.NoError(t, turret.Ready(svc))
			assert.NoError(t, second.wait().err)
			assert.Equal(t, 3*time.Second/2, second.took, "it connects at once")
			assert.Equal(t, 1, second.resp)
		})
	}
}

func TestContextOfAConnectIsItsCallersAndEndsWithIt(t *testing.T) {
	type key struct{}
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		var seen context.Context
		token.connect = func(ctx context.Context) error { seen = ctx; return ctx.Err() }
		_, err := svc.Call(context.WithValue(t.Context(), key{}, "value"), well)
		require.NoError(t, err)
		assert.Equal(t, "value", seen.Value(key{}))
		assert.Error(t, seen.Err())
	})
}

func TestOldServiceIsClosedOnceAfterItsCallsInFlight(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		_, _ = svc.Call(t.Context(), takes(time.Second, nil))
		slow := begin(t.Context(), svc, takes(time.Minute, errKilled))
		_, _ = svc.Call(t.Context(), fails(errKilled))
		resp, err := svc.Call(t.Context(), well)
		require.NoError(t, err)
		assert.Equal(t, 2, resp, "its successor does not wait for that")
		synctest.Wait()
		assert.Equal(t, []int{0, 0}, token.closes())

		assert.Equal(t, errKilled, slow.wait().err)
		synctest.Wait()
		assert.Equal(t, []int{1, 0}, token.closes())
		resp, err = svc.Call(t.Context(), well)
		require.NoError(t, err)
		assert.Equal(t, 2, resp, "its late failure does not break its successor")
	})
}

func TestSessionKilledUnderManyCallsIsReplacedOnce(t *testing.T) {
	var broken []error
	o := reconnect.Options{OnBroken: func(_ context.Context, err error) { broken = append(broken, err) }}
	bubble(t, o, func(t *testing.T, token *token, svc service) {
		_, _ = svc.Call(t.Context(), takes(time.Second, nil))
		var calls []*call
		for range 64 {
			calls = append(calls, begin(t.Context(), svc, takes(time.Second, errKilled)))
		}
		for _, call := range calls {
			assert.Equal(t, errKilled, call.wait().err)
		}
		resp, err := svc.Call(t.Context(), well)
		require.NoError(t, err)
		assert.Equal(t, 2, resp)
		assert.Equal(t, []error{errKilled}, broken)
	})
}

func TestCloseOfABrokenConnectionHoldsUpNobody(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		token.close = func() error { <-time.After(time.Hour); return nil }
		_, _ = svc.Call(t.Context(), takes(time.Second, nil))
		assert.Zero(t, begin(t.Context(), svc, fails(errKilled)).wait().took)
		assert.Zero(t, begin(t.Context(), svc, well).wait().took)
	})
}

func TestPanicBreaksTheConnectionAndGoesOnUp(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		_, _ = svc.Call(t.Context(), takes(time.Second, nil))
		assert.PanicsWithValue(t, "boom", func() {
			_, _ = svc.Call(t.Context(), func(context.Context) error { panic("boom") })
		})
		resp, err := svc.Call(t.Context(), well)
		require.NoError(t, err)
		assert.Equal(t, 2, resp)
		<-time.After(time.Second)
		begin(t.Context(), svc, func(context.Context) error { runtime.Goexit(); return nil }).wait()
		resp, err = svc.Call(t.Context(), well)
		require.NoError(t, err)
		assert.Equal(t, 3, resp)
	})
}

func TestPanicOfConnectGoesOnUpAndIsAFailure(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		token.connect = func(context.Context) error { panic("boom") }
		assert.PanicsWithValue(t, "boom", func() { _, _ = svc.Call(t.Context(), well) })
		_, err := svc.Call(t.Context(), well)
		assert.ErrorIs(t, err, reconnect.ErrBackoff)
		<-time.After(time.Second)
		token.connect = func(context.Context) error { runtime.Goexit(); return nil }
		begin(t.Context(), svc, well).wait()
		_, err = svc.Call(t.Context(), well)
		assert.ErrorIs(t, err, reconnect.ErrBackoff)
		assert.ErrorContains(t, err, "the call panicked, or ended its goroutine")
		<-time.After(time.Second)
		token.connect = nil
		_, err = svc.Call(t.Context(), well)
		assert.NoError(t, err)
	})
}

func TestConnectThatReturnsNothingIsAFailure(t *testing.T) {
	svc := reconnect.New(reconnect.Options{}, func(context.Context) (service, error) { return nil, nil })
	_, err := svc.Call(t.Context(), well)
	assert.EqualError(t, err, "reconnect: cannot connect: connect returned neither a service nor an error")
}

func TestReady(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		assert.NoError(t, turret.Ready(svc), "to connect")
		token.connect = fails(errRefused)
		_, _ = svc.Call(t.Context(), well)
		assert.ErrorIs(t, turret.Ready(svc), reconnect.ErrBackoff)
		<-time.After(time.Second)
		assert.NoError(t, turret.Ready(svc))
		token.connect = nil
		_, _ = svc.Call(t.Context(), well)
		assert.NoError(t, turret.Ready(svc))
		token.unready = turret.WithClass(errors.New("queue full"), turret.Rejected)
		assert.Equal(t, token.unready, turret.Ready(svc), "what the connection says")
		require.NoError(t, turret.Close(svc))
		assert.Equal(t, reconnect.ErrClosed, turret.Ready(svc))
	})
}

// Or else a layer above that asks first, as a rate limit does, would keep every
// call from finding out that the connection is broken.
func TestConnectionThatSaysItIsBrokenKeepsNoCallAway(t *testing.T) {
	bubble(t, reconnect.Options{}, func(t *testing.T, token *token, svc service) {
		_, _ = svc.Call(t.Context(), well)
		token.unready = turret.WithClass(errors.New("the worker has died"), turret.Transient)
		assert.NoError(t, turret.Ready(svc))
	})
}

func TestDescribe(t *testing.T) {
	assert.Equal(t, "reconnect, backoff 100ms–30s", turret.Describe(reconnect.New(reconnect.Options{}, new(token).open)))
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		min, max time.Duration
		want     string
	}{
		{0, 0, ""},
		{time.Minute, 0, ""},
		{0, time.Millisecond, ""},
		{time.Second, time.Second, ""},
		{-1, 0, "reconnect: backoff is negative (MinBackoff -1ns, MaxBackoff 0s); it must be above zero, or 0 for the default"},
		{0, -1, "reconnect: backoff is negative (MinBackoff 0s, MaxBackoff -1ns); it must be above zero, or 0 for the default"},
		{2, 1, "reconnect: MinBackoff 2ns is above MaxBackoff 1ns; it must be at most that"},
	} {
		o := reconnect.Options{MinBackoff: tc.min, MaxBackoff: tc.max}
		if err := o.Validate(); tc.want == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, o.Validate(), tc.want)
		require.PanicsWithError(t, tc.want, func() { reconnect.New(o, new(token).open) })
	}
	require.Panics(t, func() { reconnect.New[int, int](reconnect.Options{}, nil) })
}

func TestSuccessAllocatesNothing(t *testing.T) {
	svc := reconnect.New(reconnect.Options{}, new(token).open)
	defer turret.Close(svc)
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = svc.Call(ctx, well) }))
}

// Many callers over sessions that break all the time: each is closed once, when
// nobody uses it, and no two are being made at a time.
func TestManyCallers(t *testing.T) {
	token := &token{}
	token.connect = func(context.Context) error {
		if rand.IntN(3) == 0 {
			return errRefused
		}
		return nil
	}
	svc := reconnect.New(reconnect.Options{MinBackoff: 1, MaxBackoff: 1}, token.open)
	var all sync.WaitGroup
	for g := range 64 {
		all.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				switch rand.IntN(20) {
				case 0:
					_, _ = svc.Call(ctx, fails(errKilled))
				case 1:
					go cancel()
					_, _ = svc.Call(ctx, hangs)
				default:
					_, err := svc.Call(ctx, well)
					if err != nil && !errors.Is(err, errRefused) && !errors.Is(err, reconnect.ErrBackoff) {
						assert.Equal(t, reconnect.ErrClosed, err)
						assert.Zero(t, g)
					}
				}
				_ = turret.Ready(svc)
				cancel()
			}
		})
	}
	all.Wait()
	require.NoError(t, turret.Close(svc))
	require.Greater(t, len(token.sessions), 10)
	for _, closes := range token.closes() {
		assert.Equal(t, 1, closes)
	}
	assert.False(t, token.closedInUse.Load())
	assert.EqualValues(t, 1, token.most.Load())
}
