package timeout_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/timeout"
)

var between = timeout.Learning{Min: 250 * time.Millisecond, Max: time.Second}

func learn(s service) service { return timeout.LearningLayer[int, int](between)(s) }

// slow is a service that takes as many milliseconds as it is asked for.
var slow = turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
	return serve(time.Duration(n)*time.Millisecond).Call(ctx, n)
})

func limitOf(t *testing.T, svc service) time.Duration {
	t.Helper()
	state, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	require.Equal(t, "timeout", state.Key)
	group := state.Value.Group()
	require.Len(t, group, 1)
	require.Equal(t, "limit", group[0].Key)
	return group[0].Value.Duration()
}

func second(t *testing.T) context.Context { return turret.WithAttempt(t.Context(), 2) }

func TestAFirstAttemptBeginsWithMin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc, start := learn(slow), time.Now()
		_, err := svc.Call(t.Context(), 900)
		var e *timeout.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, between.Min, e.Limit)
		require.Equal(t, between.Min, time.Since(start))
		require.EqualError(t, err, "timeout: no answer within 250ms: serve: context deadline exceeded")
		require.Equal(t, between.Min, limitOf(t, svc), "only a success says how long one takes")
	})
}

func TestAFurtherAttemptHasMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc, start := learn(slow), time.Now()
		_, err := svc.Call(second(t), 2000)
		var e *timeout.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, between.Max, e.Limit)
		require.Equal(t, between.Max, time.Since(start))
	})
}

func TestTheLimitFollowsASlowSuccessAtOnceAndShrinksSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := learn(slow)
		answered := func(ctx context.Context, ms int) {
			t.Helper()
			_, err := svc.Call(ctx, ms)
			require.NoError(t, err)
		}
		answered(t.Context(), 100)
		require.Equal(t, 250*time.Millisecond, limitOf(t, svc), "no less than Min")
		answered(t.Context(), 200)
		require.Equal(t, 400*time.Millisecond, limitOf(t, svc), "twice what it took")
		answered(second(t), 450)
		require.Equal(t, 900*time.Millisecond, limitOf(t, svc), "a further attempt teaches as well")
		answered(t.Context(), 890)
		require.Equal(t, time.Second, limitOf(t, svc), "no more than Max")

		answered(t.Context(), 10)
		require.Equal(t, 996*time.Millisecond, limitOf(t, svc), "a fast one is not the end of slow ones")
		for range 400 {
			answered(t.Context(), 100)
		}
		require.Equal(t, between.Min, limitOf(t, svc))
	})
}

func TestTheLimitShrinksNoFurtherThanToWhatASuccessNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := learn(slow)
		_, err := svc.Call(second(t), 201)
		require.NoError(t, err)
		_, err = svc.Call(t.Context(), 200)
		require.NoError(t, err)
		require.Greater(t, limitOf(t, svc), 400*time.Millisecond)
		_, err = svc.Call(t.Context(), 200)
		require.NoError(t, err)
		require.Equal(t, 400*time.Millisecond, limitOf(t, svc))
	})
}

func TestFailuresTeachNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		svc := learn(turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
			if _, err := slow(ctx, n); err != nil {
				return 0, err
			}
			return 0, down
		}))
		_, err := svc.Call(second(t), 500)
		require.Same(t, down, err)
		require.Equal(t, between.Min, limitOf(t, svc))
	})
}

// What TestExpiry... say of Layer holds of each limit.
func TestALearningLayersErrorsAreLayers(t *testing.T) {
	for n, limit := range map[int]time.Duration{1: between.Min, 2: between.Max} {
		synctest.Test(t, func(t *testing.T) {
			ctx := turret.WithAttempt(t.Context(), n)
			svc := learn(serve(time.Hour))
			_, err := svc.Call(ctx, 1)
			require.ErrorIs(t, err, timeout.ErrExceeded)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, turret.Transient, turret.Outcome(ctx, err))

			early, cancel := context.WithTimeout(ctx, limit/2)
			defer cancel()
			_, err = svc.Call(early, 1)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, timeout.ErrExceeded, "the caller's own deadline")
			require.Equal(t, turret.Canceled, turret.Outcome(early, err))

			denied := turret.WithClass(errors.New("denied"), turret.Permanent)
			_, err = learn(turret.ServiceFunc[int, int](func(ctx context.Context, _ int) (int, error) {
				<-ctx.Done()
				return 0, denied
			})).Call(ctx, 1)
			require.Same(t, denied, err)

			_, err = learn(turret.ServiceFunc[int, int](func(ctx context.Context, _ int) (int, error) {
				<-ctx.Done()
				return 0, context.Cause(ctx)
			})).Call(ctx, 1)
			require.EqualError(t, err, fmt.Sprintf("timeout: no answer within %v", limit))
		})
	}
}

func TestEachServiceHasALimitOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := timeout.LearningLayer[int, int](between)
		one, other := layer(slow), layer(slow)
		_, err := one.Call(second(t), 300)
		require.NoError(t, err)
		require.Equal(t, 600*time.Millisecond, limitOf(t, one))
		require.Equal(t, between.Min, limitOf(t, other))
	})
}

func TestCallsAtOnceLearnTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := learn(slow)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				for n := range 20 {
					_, _ = svc.Call(turret.WithAttempt(t.Context(), 1+n%2), 10*(i%50))
				}
			})
		}
		all.Wait()
		require.Greater(t, limitOf(t, svc), between.Min)
		require.LessOrEqual(t, limitOf(t, svc), between.Max)
	})
}

func TestLearningOptionsThatMakeNoSense(t *testing.T) {
	for _, tc := range []struct {
		timeout.Learning
		want string
	}{
		{timeout.Learning{}, "timeout: Min is 0s; it must be above zero"},
		{timeout.Learning{Min: -1, Max: 1}, "timeout: Min is -1ns; it must be above zero"},
		{timeout.Learning{Min: time.Second, Max: time.Millisecond}, "timeout: Max is 1ms, below Min, which is 1s; the limit moves between the two"},
	} {
		require.EqualError(t, tc.Validate(), tc.want)
		require.PanicsWithError(t, tc.want, func() { timeout.LearningLayer[int, int](tc.Learning) })
	}
	require.NoError(t, timeout.Learning{Min: 1, Max: 1}.Validate())
}

func TestLearningDescribe(t *testing.T) {
	require.Equal(t, "timeout 250ms to 1s\nfunc", turret.Describe(learn(serve(0))))
}

func TestLearningAllocatesNoMoreThanLayer(t *testing.T) {
	fast := turret.ServiceFunc[int, int](answer)
	plain, learning := wrap(fast, time.Minute), learn(fast)
	allocs := func(s service) float64 {
		return testing.AllocsPerRun(1000, func() { _, _ = s.Call(t.Context(), 1) })
	}
	require.LessOrEqual(t, allocs(learning), allocs(plain))
}

func BenchmarkLearning(b *testing.B) {
	s := learn(turret.ServiceFunc[int, int](answer))
	b.ReportAllocs()
	for b.Loop() {
		sink, _ = s.Call(context.Background(), 1)
	}
}
