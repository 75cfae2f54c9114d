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

// failsafePolicies are what turretFour has, in its order.
func failsafePolicies() []policy {
	return []policy{failsafeTimeout(), failsafeRetry(), failsafeRateLimit(), failsafeBreaker()}
}

func failsafeFour(service call) call { return failsafeStack(service, failsafePolicies()...) }

// failsafeStack returns a call through policies, outermost first, to a service. The
// executor is made once; the context is each call's own, and the service gets what
// became of it from the execution, as failsafe-go hands it on.
func failsafeStack(service call, policies ...policy) call {
	executor := failsafe.With(policies...)
	return func(ctx context.Context, n int) (int, error) {
		return executor.WithContext(ctx).GetWithExecution(func(exec failsafe.Execution[int]) (int, error) {
			return service(exec.Context(), n)
		})
	}
}

// failsafeBare is failsafeStack with no context, neither the caller's nor for the
// service: the least that failsafe-go can cost, and less than the others do.
func failsafeBare(service call, policies ...policy) call {
	executor := failsafe.With(policies...)
	return func(_ context.Context, n int) (int, error) {
		return executor.Get(func() (int, error) { return service(context.Background(), n) })
	}
}
