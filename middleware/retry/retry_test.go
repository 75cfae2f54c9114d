package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type service = turret.Service[int, int]

var (
	errOne    = errors.New("one")
	errTwo    = errors.New("two")
	errThree  = errors.New("three")
	permanent = turret.WithClass(errors.New("no such key"), turret.Permanent)
	throttled = turret.WithClass(errors.New("over quota"), turret.Throttled)
)

// script answers calls with its errors in turn, and calls beyond it with success.
type script struct {
	errs  []error
	calls int
	at    []time.Duration // when each call came, counted from start
	start time.Time
}

func answers(errs ...error) *script { return &script{errs: errs, start: time.Now()} }

func always(err error) turret.ServiceFunc[int, int] {
	return func(context.Context, int) (int, error) { return 0, err }
}

func (s *script) Call(_ context.Context, n int) (int, error) {
	s.calls++
	s.at = append(s.at, time.Since(s.start))
	if s.calls <= len(s.errs) {
		return 0, s.errs[s.calls-1]
	}
	return n, nil
}

// refusal is what a layer below says that did not let a call through.
type refusal time.Duration

func (r refusal) Error() string                     { return "refused" }
func (r refusal) Class() turret.Class               { return turret.Rejected }
func (r refusal) RetryAfter() (time.Duration, bool) { return time.Duration(r), true }

// later is an error whose service says when to come back.
type later struct {
	class turret.Class
	after time.Duration
}

func (l later) Error() string                     { return "later" }
func (l later) Class() turret.Class               { return l.class }
func (l later) RetryAfter() (time.Duration, bool) { return l.after, true }

var exact = retry.Backoff{Min: time.Second, Max: time.Minute, Jitter: retry.NoJitter}

func wrap(s service, o retry.Options) service { return retry.Layer[int, int](o)(s) }

func TestRefusalsAreNoAttemptsInTheErrorsText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := refusal(time.Minute)
		all := func(error, turret.Class) bool { return true }

		_, err := wrap(always(refused), retry.Options{Retryable: all}).Call(t.Context(), 1)
		require.EqualError(t, err, "retry: all attempts failed, before the service was reached: refused (3 times)")
		_, err = wrap(answers(errOne, refused, errTwo), retry.Options{Retryable: all}).Call(t.Context(), 1)
		require.EqualError(t, err, "retry: all attempts failed, after 2 attempts: one; then: refused; then: two")

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err = wrap(always(refused), retry.Options{WaitRejected: true}).Call(ctx, 1)
		require.EqualError(t, err, "retry: context canceled, before the service was reached: refused")
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
	})
}

func TestErrorThenSuccessReturnsTheSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers(errOne)
		n, err := wrap(s, retry.Options{}).Call(t.Context(), 7)
		require.NoError(t, err)
		require.Equal(t, 7, n)
		require.Equal(t, 2, s.calls)
	})
}

func TestMaxAttemptsThreeMakesThreeCallsAndUnwrapsToAllThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers(errOne, errTwo, throttled, errThree)
		_, err := wrap(s, retry.Options{MaxAttempts: 3}).Call(t.Context(), 1)
		require.Equal(t, 3, s.calls)
		for _, want := range []error{errOne, errTwo, throttled, retry.ErrExhausted} {
			require.ErrorIs(t, err, want)
		}
		require.NotErrorIs(t, err, errThree)
		require.Equal(t, turret.Throttled, turret.Classify(err), "the last attempt's class")
		require.EqualError(t, err, "retry: all attempts failed, after 3 attempts: one; then: two; then: over quota")
		var e *retry.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, []error{errOne, errTwo, throttled}, e.Attempts)
	})
}

func TestErrorsAsFindsTheLastAttemptFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers(later{turret.Transient, 1}, later{turret.Throttled, 2})
		_, err := wrap(s, retry.Options{MaxAttempts: 2}).Call(t.Context(), 1)
		var last later
		require.ErrorAs(t, err, &last)
		require.Equal(t, turret.Throttled, last.class)
		after, ok := turret.RetryAfter(err)
		require.True(t, ok)
		require.EqualValues(t, 2, after)
	})
}

func TestPermanentErrorOnTheFirstAttemptComesBackUnchanged(t *testing.T) {
	s := answers(permanent)
	_, err := wrap(s, retry.Options{}).Call(t.Context(), 1)
	require.Same(t, permanent, err)
	require.Equal(t, 1, s.calls)
}

func TestPermanentErrorOnALaterAttemptKeepsThoseBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers(errOne, permanent)
		_, err := wrap(s, retry.Options{}).Call(t.Context(), 1)
		require.Equal(t, 2, s.calls)
		require.ErrorIs(t, err, errOne)
		require.ErrorIs(t, err, permanent)
		require.NotErrorIs(t, err, retry.ErrExhausted)
		require.Equal(t, turret.Permanent, turret.Classify(err))
		require.EqualError(t, err, "retry: after 2 attempts: one; then: no such key")
	})
}

func TestASingleAttemptIsNoRetry(t *testing.T) {
	_, err := wrap(always(errOne), retry.Options{MaxAttempts: 1}).Call(t.Context(), 1)
	require.Same(t, errOne, err)
}

func TestPolicyCanRetryASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers()
		p := retry.PolicyFunc[int, int](func(_ context.Context, try *retry.Try[int, int]) (time.Duration, bool) {
			return time.Second, try.Err == nil && try.Attempt < 3
		})
		n, err := retry.PolicyLayer(p)(s).Call(t.Context(), 7)
		require.NoError(t, err)
		require.Equal(t, 7, n)
		require.Equal(t, []time.Duration{0, time.Second, 2 * time.Second}, s.at)
	})
}

func TestPolicyCanChangeTheRequest(t *testing.T) {
	p := retry.PolicyFunc[int, int](func(_ context.Context, try *retry.Try[int, int]) (time.Duration, bool) {
		try.Request *= 10
		return 0, try.Attempt < 3
	})
	n, err := retry.PolicyLayer(p)(answers(errOne, errTwo)).Call(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, 700, n)
}

func TestPolicyCanReplaceTheFinalResult(t *testing.T) {
	p := retry.PolicyFunc[int, int](func(_ context.Context, try *retry.Try[int, int]) (time.Duration, bool) {
		if try.Attempt < 2 {
			return 0, true
		}
		try.Response, try.Err = 42, nil
		return 0, false
	})
	n, err := retry.PolicyLayer(p)(always(errOne)).Call(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, 42, n)

	fail := retry.PolicyFunc[int, int](func(_ context.Context, try *retry.Try[int, int]) (time.Duration, bool) {
		try.Err = errTwo
		return 0, false
	})
	_, err = retry.PolicyLayer(fail)(answers()).Call(t.Context(), 7)
	require.Same(t, errTwo, err)
}

func TestPolicyCannotWaitPastTheDeadlineEvenAfterASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p := retry.PolicyFunc[int, int](func(context.Context, *retry.Try[int, int]) (time.Duration, bool) { return time.Minute, true })
		n, err := retry.PolicyLayer(p)(answers()).Call(ctx, 7)
		require.ErrorIs(t, err, retry.ErrDeadline)
		require.Equal(t, 7, n)
		require.EqualError(t, err, "retry: deadline leaves no time for another attempt, after a success")
		_, ok := turret.RetryAfter(err)
		require.False(t, ok)
	})
}

func TestNilPolicyPanics(t *testing.T) {
	require.Panics(t, func() { retry.PolicyLayer[int, int](nil) })
}

func TestNoSleepOutlivesTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		s := answers(errOne, errTwo, errThree)
		start := time.Now()
		_, err := wrap(s, retry.Options{MaxAttempts: 9, Backoff: exact}).Call(ctx, 1)
		require.Equal(t, time.Second, time.Since(start), "it fails at once, not at the deadline")
		require.ErrorIs(t, err, retry.ErrDeadline)
		require.ErrorIs(t, err, errOne)
		require.ErrorIs(t, err, errTwo)
		require.Equal(t, 2, s.calls)
		require.EqualError(t, err, "retry: deadline leaves no time for another attempt, after 2 attempts: one; then: two")
	})
}

func TestAnOnlyAttemptCutByTheDeadlineSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // just as long as the wait: no time for the call
		defer cancel()
		_, err := wrap(always(errOne), retry.Options{Backoff: exact}).Call(ctx, 1)
		require.EqualError(t, err, "retry: deadline leaves no time for another attempt, after 1 attempt: one")
	})
}

func TestCallersCancelDuringBackoffReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(300*time.Millisecond, cancel)
		start := time.Now()
		_, err := wrap(always(errOne), retry.Options{Backoff: exact}).Call(ctx, 1)
		require.Equal(t, 300*time.Millisecond, time.Since(start))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errOne, "what caused the backoff is not lost")
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
	})
}

func TestTimeoutAboveDuringBackoffKeepsWhatCausedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A parent that is canceled at the limit, unseen as a deadline, ends the backoff.
		limit := turret.LayerFunc("limit", func(ctx context.Context, n int, next service) (int, error) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(300*time.Millisecond, func() { cancel(errors.New("limit")) })
			return next.Call(ctx, n)
		})
		s := turret.Stack(timeout.Layer[int, int](time.Hour), limit, retry.Layer[int, int](retry.Options{Backoff: exact}))(always(errOne))
		_, err := s.Call(t.Context(), 1)
		require.ErrorIs(t, err, errOne)
	})
}

func TestCanceledCallerIsNotRetried(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) { cancel(); return 0, ctx.Err() })
	_, err := wrap(s, retry.Options{Retryable: func(error, turret.Class) bool { return true }}).Call(ctx, 1)
	require.Same(t, context.Canceled, err)
}

func TestTheServicesOwnCancelIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := wrap(answers(context.Canceled), retry.Options{}).Call(t.Context(), 1)
		require.NoError(t, err)
	})
}

func TestAttemptTimeoutIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls int
		hang := turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
			if calls++; calls == 1 {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return n, nil
		})
		s := turret.Stack(retry.Layer[int, int](retry.Options{}), timeout.Layer[int, int](time.Second))(hang)
		n, err := s.Call(t.Context(), 7)
		require.NoError(t, err)
		require.Equal(t, 7, n)
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers(later{turret.Transient, 5 * time.Second})
		_, err := wrap(s, retry.Options{Backoff: exact}).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, 5 * time.Second}, s.at)
	})
}

func TestRetryAfterIsCappedByMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers(later{turret.Throttled, time.Hour})
		_, err := wrap(s, retry.Options{Backoff: exact}).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, time.Minute}, s.at)
	})
}

func TestThrottledBacksOffLongerThanTransient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers(throttled, errOne, throttled)
		_, err := wrap(s, retry.Options{MaxAttempts: 4, Backoff: exact}).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, 4 * time.Second, 6 * time.Second, 22 * time.Second}, s.at)
	})
}

func TestFullJitterAHundredSessionsDoNotShareADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(map[time.Duration]bool)
		var sum time.Duration
		for range 100 {
			s := answers(errOne)
			_, err := wrap(s, retry.Options{Backoff: retry.Backoff{Min: time.Second}}).Call(t.Context(), 1)
			require.NoError(t, err)
			require.LessOrEqual(t, s.at[1], time.Second)
			seen[s.at[1]] = true
			sum += s.at[1]
		}
		require.Len(t, seen, 100)
		require.InDelta(t, 0.5, (sum / 100).Seconds(), 0.15, "delays are spread over all of [0, Min]")
	})
}

func TestBackoffDoesNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers(make([]error, 1000)...)
		for i := range s.errs {
			s.errs[i] = errOne
		}
		_, err := wrap(s, retry.Options{MaxAttempts: 1001, Backoff: retry.Backoff{Min: 1, Max: math.MaxInt64, Factor: 1.04, Jitter: retry.NoJitter}}).Call(t.Context(), 1)
		require.NoError(t, err)
		for i := range s.at[1:] {
			require.Greater(t, s.at[i+1], s.at[i])
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := answers(make([]error, 1000)...)
		for i := range s.errs {
			s.errs[i] = errOne
		}
		_, err := wrap(s, retry.Options{MaxAttempts: 1001, Backoff: retry.Backoff{Min: time.Second, Factor: 10, Jitter: retry.NoJitter}}).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, 5*time.Second, s.at[1000]-s.at[999])
	})
}

func TestBackoffUpToTheLongestDurationStaysPositive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delays []time.Duration
		o := retry.Options{MaxAttempts: 40, Backoff: retry.Backoff{Min: time.Hour, Max: math.MaxInt64, Jitter: retry.NoJitter}}
		o.OnRetry = func(_ context.Context, e retry.Event) { delays = append(delays, e.Delay) }
		ctx, cancel := context.WithCancel(t.Context())
		s := turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
			if len(delays) == 22 {
				cancel() // the next delay outlives the clock
			}
			return 0, throttled
		})
		_, err := wrap(s, o).Call(ctx, 1)
		require.Error(t, err)
		for i := range delays[1:] {
			require.GreaterOrEqual(t, delays[i+1], delays[i])
		}
	})
}

func TestWaitRejectedBearsAnyRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{math.MaxInt64, math.MinInt64, -1, 0} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			var calls int
			s := turret.ServiceFunc[int, int](func(context.Context, int) (int, error) { calls++; return 0, refusal(after) })
			_, err := wrap(s, retry.Options{WaitRejected: true, Backoff: exact}).Call(ctx, 1)
			require.ErrorIs(t, err, retry.ErrDeadline)
			require.LessOrEqual(t, calls, 10, "a refusal without a time is not asked about in a loop")
			cancel()
		}
	})
}

func TestCallerWhoGoesDuringTheWaitSpendsNoBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, o := range []retry.Options{
			{Budget: retry.NewBudget(0, 0.1), Backoff: exact}, // one retry in all
			{Budget: retry.NewBudget(0, 0.1), Backoff: exact, WaitRejected: true},
		} {
			budget := o.Budget
			for _, err := range []error{errOne, refusal(time.Second), errOne} {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second/2, cancel)
				_, err := wrap(always(err), o).Call(ctx, 1)
				require.Error(t, err)
				require.EqualValues(t, 1, budget.Left())
			}
			_, err := wrap(answers(errOne), o).Call(t.Context(), 1)
			require.NoError(t, err)
			require.Zero(t, budget.Left())
			<-time.After(retry.BudgetWindow)
			require.EqualValues(t, 1, budget.Left(), "and nothing is left over")
		}
	})
}

func TestWithdrawalThatLeftTheWindowIsNotGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(0, 0.1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*retry.BudgetWindow, cancel)
		_, err := wrap(always(errOne), retry.Options{Budget: budget, Backoff: retry.Backoff{Min: time.Minute, Jitter: retry.NoJitter}}).Call(ctx, 1)
		require.ErrorIs(t, err, context.Canceled)
		require.EqualValues(t, 1, budget.Left())
	})
}

func TestCallerWhoHasGoneSpendsNoBudgetAndOnRetryHearsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	budget := retry.NewBudget(0, 1)
	before := budget.Left()
	_, err := wrap(always(throttled), retry.Options{Budget: budget, OnRetry: func(context.Context, retry.Event) { t.Error("heard") }}).Call(ctx, 1)
	require.ErrorIs(t, err, throttled)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
	require.Equal(t, before, budget.Left())
}

func TestErrorCountsAttemptsAndTellsOfManyTheFirstAndTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s := answers(errOne, refusal(1), refusal(1), errTwo, refusal(1), throttled, errThree)
		_, err := wrap(s, retry.Options{MaxAttempts: 4, WaitRejected: true}).Call(ctx, 1)
		require.EqualError(t, err, "retry: all attempts failed, after 4 attempts: one; then 4 more; then: three")
		require.ErrorIs(t, err, errTwo, "errors.Is finds the rest")

		_, err = wrap(always(refusal(2*time.Hour)), retry.Options{WaitRejected: true}).Call(ctx, 1)
		require.EqualError(t, err, "retry: deadline leaves no time for another attempt, before the service was reached: refused")
	})
}

func TestRefusalIsNotRetriedUnlessAskedTo(t *testing.T) {
	s := answers(refusal(time.Second))
	_, err := wrap(s, retry.Options{}).Call(t.Context(), 1)
	require.Equal(t, refusal(time.Second), err)
	require.Equal(t, 1, s.calls)
}

func TestWaitRejectedWaitsOutARefusalAndSpendsNoBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		r := refusal(10 * time.Second)
		s := answers(r, r, r, r)
		o := retry.Options{MaxAttempts: 2, WaitRejected: true, Budget: retry.NewBudget(0, 0), Backoff: exact}
		_, err := wrap(s, o).Call(ctx, 1)
		require.NoError(t, err, "an empty budget does not matter, nor do two attempts")
		require.Equal(t, 5, s.calls)
		require.Equal(t, 11*time.Second, s.at[1], "RetryAfter, and jitter of up to Min on top")
	})
}

func TestWaitRejectedDoesNotWaitWhatDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := wrap(always(refusal(10*time.Second)), retry.Options{WaitRejected: true}).Call(ctx, 1)
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, err, retry.ErrDeadline)
		require.ErrorIs(t, err, refusal(10*time.Second))
		require.Equal(t, turret.Rejected, turret.Outcome(ctx, err))
	})
}

func TestWaitRejectedWithoutADeadlineIsBoundedByMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls int
		s := turret.ServiceFunc[int, int](func(context.Context, int) (int, error) { calls++; return 0, refusal(time.Second) })
		_, err := wrap(s, retry.Options{MaxAttempts: 4, WaitRejected: true}).Call(t.Context(), 1)
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.Equal(t, 4, calls)
	})
}

func TestRefusalsWaitedOutAreNotHoarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := wrap(always(refusal(time.Second)), retry.Options{WaitRejected: true, Backoff: exact}).Call(ctx, 1)
		var e *retry.Error
		require.ErrorAs(t, err, &e)
		require.LessOrEqual(t, len(e.Attempts), 2)
	})
}

func TestNestedThreeByThreeMakesNineCallsAndCountsEachRetrysOwnAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inner, outer []int
		s := turret.ServiceFunc[int, int](func(ctx context.Context, _ int) (int, error) {
			inner = append(inner, turret.Attempt(ctx))
			return 0, errOne
		})
		between := turret.LayerFunc("between", func(ctx context.Context, n int, next service) (int, error) {
			outer = append(outer, turret.Attempt(ctx))
			return next.Call(ctx, n)
		})
		three := retry.Layer[int, int](retry.Options{MaxAttempts: 3})
		_, err := turret.Stack(three, between, three)(s).Call(t.Context(), 1)
		require.ErrorIs(t, err, errOne)
		require.Equal(t, []int{1, 2, 3, 1, 2, 3, 1, 2, 3}, inner)
		require.Equal(t, []int{1, 2, 3}, outer)
	})
}

func TestRetryableDecidesInPlaceOfTheClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := answers(permanent, errOne)
		_, err := wrap(s, retry.Options{Retryable: func(err error, c turret.Class) bool {
			return c == turret.Permanent
		}}).Call(t.Context(), 1)
		require.ErrorIs(t, err, errOne)
		require.Equal(t, 2, s.calls)
	})
}

func TestOnRetryHearsOfEachRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []retry.Event
		o := retry.Options{Backoff: exact, OnRetry: func(_ context.Context, e retry.Event) { events = append(events, e) }}
		_, err := wrap(always(throttled), o).Call(t.Context(), 1)
		require.Error(t, err)
		require.Equal(t, []retry.Event{
			{1, throttled, turret.Throttled, 4 * time.Second},
			{2, throttled, turret.Throttled, 8 * time.Second},
		}, events)
	})
}

func TestPanicGoesOnUp(t *testing.T) {
	s := turret.ServiceFunc[int, int](func(context.Context, int) (int, error) { panic("boom") })
	require.PanicsWithValue(t, "boom", func() { _, _ = wrap(s, retry.Options{}).Call(t.Context(), 1) })
}

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		o    retry.Options
		want string
	}{
		"negative attempts":   {retry.Options{MaxAttempts: -1}, "MaxAttempts is -1"},
		"negative Min":        {retry.Options{Backoff: retry.Backoff{Min: -1}}, "negative"},
		"negative Max":        {retry.Options{Backoff: retry.Backoff{Max: -1}}, "negative"},
		"negative Throttled":  {retry.Options{Backoff: retry.Backoff{Throttled: -1}}, "negative"},
		"Min above Max":       {retry.Options{Backoff: retry.Backoff{Min: 2, Max: 1}}, "Max must be at least Min"},
		"Throttled above Max": {retry.Options{Backoff: retry.Backoff{Throttled: 2, Max: 1}}, "Max must be at least Throttled"},
		"factor below one":    {retry.Options{Backoff: retry.Backoff{Factor: 0.5}}, "Factor is 0.5"},
		"factor not a number": {retry.Options{Backoff: retry.Backoff{Factor: math.NaN()}}, "Factor is NaN"},
		"factor infinite":     {retry.Options{Backoff: retry.Backoff{Factor: math.Inf(1)}}, "Factor is +Inf"},
		"jitter above one":    {retry.Options{Backoff: retry.Backoff{Jitter: 1.5}}, "Jitter is 1.5"},
		"jitter below zero":   {retry.Options{Backoff: retry.Backoff{Jitter: -0.5}}, "Jitter is -0.5"},
		"jitter not a number": {retry.Options{Backoff: retry.Backoff{Jitter: math.NaN()}}, "Jitter is NaN"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.o.Validate()
			require.ErrorContains(t, err, tc.want)
			require.PanicsWithError(t, err.Error(), func() { retry.Layer[int, int](tc.o) })
		})
	}
	for _, o := range []retry.Options{
		{}, {Backoff: exact}, {Backoff: retry.Backoff{Max: time.Millisecond}},
		{Backoff: retry.Backoff{Min: time.Hour}}, {Backoff: retry.Backoff{Throttled: time.Hour}},
	} {
		require.NoError(t, o.Validate())
	}
}

func TestDescribe(t *testing.T) {
	require.Equal(t, "retry 3 attempts, backoff 50ms–5s", retry.Options{}.String())
	o := retry.Options{MaxAttempts: 5, Budget: retry.NewBudget(0.2, 10), WaitRejected: true}
	require.Equal(t, "retry 5 attempts, backoff 50ms–5s, budget 20% + 10/s, waits out refusals\nfunc", turret.Describe(wrap(always(nil), o)))
}

func TestSuccessAllocatesNothing(t *testing.T) {
	s := wrap(turret.ServiceFunc[int, int](answer), retry.Options{Budget: retry.NewBudget(0.2, 10)})
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Call(t.Context(), 1) }))
}

func Example() {
	calls := 0
	flaky := func(context.Context, string) (string, error) {
		if calls++; calls < 3 {
			return "", errors.New("connection reset")
		}
		return "hello", nil
	}
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, retry.Layer, retry.Options{
		MaxAttempts: 5,
		Backoff:     retry.Backoff{Min: time.Millisecond},
		Budget:      retry.NewBudget(0.2, 10), // shared, it bounds the retries of several stacks
		OnRetry: func(_ context.Context, e retry.Event) {
			fmt.Printf("attempt %d: %v (%v)\n", e.Attempt, e.Err, e.Class)
		},
	})
	fmt.Println(b.ServiceFunc(flaky).Call(context.Background(), ""))
	// Output:
	// attempt 1: connection reset (unknown)
	// attempt 2: connection reset (unknown)
	// hello <nil>
}

// A policy sees requests and responses: this one polls until a job is done.
func ExamplePolicyLayer() {
	poll := retry.PolicyFunc[string, string](func(_ context.Context, t *retry.Try[string, string]) (time.Duration, bool) {
		return time.Millisecond, t.Err == nil && t.Response == "pending" && t.Attempt < 10
	})
	calls := 0
	job := turret.ServiceFunc[string, string](func(context.Context, string) (string, error) {
		if calls++; calls < 4 {
			return "pending", nil
		}
		return "done", nil
	})
	resp, err := retry.PolicyLayer(poll)(job).Call(context.Background(), "job 7")
	fmt.Println(resp, err, calls)
	// Output: done <nil> 4
}

func answer(_ context.Context, n int) (int, error) { return n, nil }

// bench calls as users do: through the interface, with a context of a server's.
func bench(b *testing.B, s service) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, 1))
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Call(ctx, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLayer(b *testing.B) {
	bench(b, wrap(turret.ServiceFunc[int, int](answer), retry.Options{}))
}

func BenchmarkLayerWithBudget(b *testing.B) {
	bench(b, wrap(turret.ServiceFunc[int, int](answer), retry.Options{Budget: retry.NewBudget(0.2, 10)}))
}

// handwritten is the loop that one writes without the layer, with its features:
// it judges errors by who ended the call, and numbers attempts.
type handwritten struct {
	next     service
	attempts int
}

func (h *handwritten) Call(ctx context.Context, n int) (resp int, err error) {
	for attempt := 1; ; attempt++ {
		resp, err = h.next.Call(turret.WithAttempt(ctx, attempt), n)
		if err == nil {
			return resp, nil
		}
		if c := turret.Outcome(ctx, err); c == turret.Permanent || c == turret.Canceled || attempt == h.attempts {
			return resp, err
		}
		select {
		case <-time.After(time.Duration(attempt) * 50 * time.Millisecond):
		case <-ctx.Done():
			return resp, ctx.Err()
		}
	}
}

func BenchmarkHandwritten(b *testing.B) {
	bench(b, &handwritten{turret.ServiceFunc[int, int](answer), 3})
}
