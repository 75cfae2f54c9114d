package ratelimit_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
)

var errOpen = errors.New("breaker is open")

// backend echoes its requests, counts them, and is ready unless open.
type backend struct {
	calls atomic.Int32
	open  atomic.Bool
	err   error
}

func (b *backend) Call(_ context.Context, n int) (int, error) {
	b.calls.Add(1)
	return n, b.err
}

func (b *backend) Ready() error {
	if b.open.Load() {
		return errOpen
	}
	return nil
}

func wrap(o ratelimit.Options, next turret.Service[int, int]) turret.Service[int, int] {
	return ratelimit.Layer[int, int](o)(next)
}

func TestLayerPassesRequestAndResultThrough(t *testing.T) {
	down := errors.New("down")
	resp, err := wrap(ratelimit.Options{Rate: 10}, &backend{err: down}).Call(t.Context(), 7)
	assert.Equal(t, 7, resp)
	assert.Equal(t, down, err)
}

func TestLayerWaitsForAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc, start := wrap(ratelimit.Options{Rate: 10, Burst: 1}, &backend{}), time.Now()
		for range 11 {
			_, err := svc.Call(t.Context(), 1)
			require.NoError(t, err)
		}
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func TestErrorIsAsPreciseAsItsReaderNeeds(t *testing.T) {
	err := &ratelimit.Error{Wait: 9_986_190_387, Patience: 499_999_747}
	require.EqualError(t, err, "ratelimit: over the limit: a token is expected in 10s, and the call waits 500ms at most")
	wait, _ := turret.RetryAfter(err)
	require.EqualValues(t, int64(9_986_190_387), wait, "who computes with it gets all of it")
}

func TestErrorOfACallerWhoGoesTellsWhatItWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := wrap(ratelimit.Options{Rate: 1, Burst: 1}, &backend{})
		_, err := svc.Call(t.Context(), 1)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(300*time.Millisecond, cancel)
		_, err = svc.Call(ctx, 1)
		require.EqualError(t, err, "ratelimit: no token had come yet: context canceled")
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
	})
}

func TestNoWaitRefusesRatherThanWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below, start := &backend{}, time.Now()
		svc := wrap(ratelimit.Options{Rate: 10, Burst: 1, MaxWait: ratelimit.NoWait}, below)
		_, err := svc.Call(t.Context(), 1)
		require.NoError(t, err)
		resp, err := svc.Call(t.Context(), 1)
		assert.Zero(t, resp)
		assert.ErrorIs(t, err, ratelimit.ErrLimited)
		assert.EqualError(t, err, "ratelimit: over the limit: a token is expected in 100ms, and the call waits 0s at most")
		assert.Zero(t, time.Since(start))
		assert.EqualValues(t, 1, below.calls.Load())
	})
}

func TestCallerWhoLeavesTheQueueIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &backend{}
		svc := wrap(ratelimit.Options{Limiter: empty(1, 1)}, below)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second/2, cancel)
		_, err := svc.Call(ctx, 1)
		assert.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
		assert.Zero(t, below.calls.Load())
	})
}

func TestEachWrappedServiceHasAQuotaOfItsOwn(t *testing.T) {
	layer := ratelimit.Layer[int, int](ratelimit.Options{Rate: 0.001, MaxWait: ratelimit.NoWait})
	for range 2 {
		_, err := layer(&backend{}).Call(t.Context(), 1)
		assert.NoError(t, err)
	}
}

func TestOneLimiterInTwoStacksIsOneQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := ratelimit.New(10, 5)
		below := &backend{}
		var all sync.WaitGroup
		for range 2 {
			svc := wrap(ratelimit.Options{Limiter: shared}, below)
			for range 100 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Second+1)
					defer cancel()
					_, _ = svc.Call(ctx, 1)
				})
			}
		}
		all.Wait()
		assert.EqualValues(t, 5+10, below.calls.Load())
	})
}

func TestReadyBelowIsAskedBeforeQueueing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket, below, start := empty(1, 1), &backend{}, time.Now()
		below.open.Store(true)
		_, err := wrap(ratelimit.Options{Limiter: bucket}, below).Call(t.Context(), 1)
		assert.Equal(t, errOpen, err, "as it is")
		assert.Zero(t, time.Since(start), "and at once")
		<-time.After(time.Second)
		assert.Equal(t, 1, drain(bucket), "it took no token")
	})
}

func TestReadyBelowIsAskedAgainBeforeTakingAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket, below := empty(1, 1), &backend{}
		svc := wrap(ratelimit.Options{Limiter: bucket}, below)
		time.AfterFunc(time.Second/2, func() { below.open.Store(true) })
		_, err := svc.Call(t.Context(), 1)
		assert.Equal(t, errOpen, err, "as it is")
		assert.Zero(t, below.calls.Load())
		assert.Equal(t, 1, drain(bucket), "the token is still there")
	})
}

func TestReadySaysWhatACallWouldGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := ratelimit.New(1, 1)
		for maxWait, err := range map[time.Duration]error{
			0:                        nil, // its deadline may allow any wait
			time.Second:              nil,
			999 * time.Millisecond:   ratelimit.ErrLimited,
			ratelimit.NoWait:         ratelimit.ErrLimited,
			time.Duration(1<<63 - 1): nil,
		} {
			svc := wrap(ratelimit.Options{Limiter: bucket, MaxWait: maxWait}, &backend{})
			assert.NoError(t, turret.Ready(svc), "a token is there")
			require.NoError(t, bucket.Wait(t.Context(), ratelimit.NoWait), "Ready took none")
			assert.ErrorIs(t, turret.Ready(svc), err, "none is there, MaxWait %v", maxWait)
			<-time.After(time.Second)
		}
	})
}

// foreign is a Limiter of somebody else's, with Wait and nothing more.
type foreign struct{ wait func(max time.Duration) error }

func (f foreign) Wait(_ context.Context, max time.Duration) error { return f.wait(max) }

func TestForeignLimiter(t *testing.T) {
	below := &backend{}
	var waits []time.Duration
	answer := error(nil)
	limiter := foreign{func(max time.Duration) error {
		waits = append(waits, max)
		return answer
	}}
	svc := wrap(ratelimit.Options{Limiter: limiter, MaxWait: time.Second}, below)

	_, err := svc.Call(t.Context(), 1)
	assert.NoError(t, err)
	assert.Equal(t, []time.Duration{time.Second}, waits, "it is told MaxWait")
	assert.NoError(t, turret.Ready(svc), "it cannot tell")
	assert.Equal(t, "rate limit ratelimit_test.foreign, waits 1s at most", svc.(interface{ String() string }).String())

	answer = &ratelimit.Error{}
	_, err = svc.Call(t.Context(), 1)
	assert.Equal(t, answer, err, "its error is the call's")
	assert.EqualError(t, err, "ratelimit: over the limit")
	_, ok := turret.RetryAfter(err)
	assert.False(t, ok, "a limiter that cannot tell when to come again promises nothing")

	answer = nil
	below.open.Store(true)
	_, err = svc.Call(t.Context(), 1)
	assert.Equal(t, errOpen, err)
	assert.Len(t, waits, 2, "Ready is asked before Wait")

	below.open.Store(false)
	limiter.wait = func(time.Duration) error { below.open.Store(true); return nil }
	_, err = wrap(ratelimit.Options{Limiter: limiter}, below).Call(t.Context(), 1)
	assert.Equal(t, errOpen, err, "and after it")
	assert.EqualValues(t, 1, below.calls.Load())
}

func TestDescribe(t *testing.T) {
	for want, o := range map[string]ratelimit.Options{
		"rate limit 500/s, burst 50":                         {Rate: 500},
		"rate limit 0.333333/s, burst 2, waits 20ms at most": {Rate: 1. / 3, Burst: 2, MaxWait: 20 * time.Millisecond},
		"rate limit 500/s, burst 50, does not wait":          {Rate: 500, MaxWait: ratelimit.NoWait},
		"rate limit 7/s, burst 3":                            {Limiter: ratelimit.New(7, 3)},
	} {
		assert.Equal(t, want+"\nfunc", turret.Describe(wrap(o, turret.ServiceFunc[int, int](echo))))
	}
}

func TestSuccessAllocatesNothing(t *testing.T) {
	svc, ctx := wrap(ratelimit.Options{Rate: unreached}, turret.ServiceFunc[int, int](echo)), t.Context()
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = svc.Call(ctx, 1) }))
}

func TestOnWaitTellsOfEachCallHowItGotItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []ratelimit.Wait
		svc := ratelimit.Layer[int, int](ratelimit.Options{Rate: 1, Burst: 1, MaxWait: time.Second, OnWait: func(_ context.Context, w ratelimit.Wait) {
			waits = append(waits, w)
		}})(turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) {
			require.Len(t, waits, n, "before the call goes on")
			return n, nil
		}))
		for n := range 2 {
			_, err := svc.Call(t.Context(), n+1)
			require.NoError(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err := svc.Call(ctx, 3)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		require.Equal(t, []ratelimit.Wait{{}, {Waited: time.Second}, {Err: err}}, waits)
	})
}
