package overhead_test

import (
	"context"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	failsafetimeout "github.com/failsafe-go/failsafe-go/timeout"
)

type policy = failsafe.Policy[int]

func failsafeTimeout() policy   { return failsafetimeout.New[int](time.Minute) }
func failsafeRetry() policy     { return retrypolicy.NewWithDefaults[int]() }
func failsafeRateLimit() policy { return ratelimiter.NewBursty[int](plenty, time.Second) }
func failsafeBreaker() policy   { return circuitbreaker.NewWithDefaults[int]() }

// failsafeStack returns a call through policies, outermost first. The executor is
// made once; the context is each call's own, and the service gets it back from
// the execution, which is how failsafe-go hands it on.
func failsafeStack(policies ...policy) call {
	executor := failsafe.With(policies...)
	return func(ctx context.Context, n int) (int, error) {
		return executor.WithContext(ctx).GetWithExecution(func(exec failsafe.Execution[int]) (int, error) {
			return answer(exec.Context(), n)
		})
	}
}

// failsafeBare is failsafeStack without a context, the caller's or the service's:
// the least that failsafe-go can cost, and less than turret does.
func failsafeBare(policies ...policy) call {
	executor := failsafe.With(policies...)
	return func(_ context.Context, n int) (int, error) {
		return executor.Get(func() (int, error) { return answer(context.Background(), n) })
	}
}
