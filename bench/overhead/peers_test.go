package overhead_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/eapache/go-resiliency/breaker"
	"github.com/eapache/go-resiliency/deadline"
	"github.com/eapache/go-resiliency/retrier"
	kitbreaker "github.com/go-kit/kit/circuitbreaker"
	"github.com/go-kit/kit/endpoint"
	kitratelimit "github.com/go-kit/kit/ratelimit"
	"github.com/go-kit/kit/sd"
	"github.com/go-kit/kit/sd/lb"
	gobreaker1 "github.com/sony/gobreaker"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

// The other peers. Where one has no such layer, what its users write in its place
// stands there: x/time/rate for a rate limit, gobreaker for a breaker.

func BenchmarkStackPeers(b *testing.B) {
	compare(b,
		contender{"go-kit", kitFour(answer)},
		contender{"go-resiliency", resiliencyFour(answer)},
		contender{"cenkalti/backoff", backoffFour(answer)},
		contender{"by hand", handFour(answer)},
		contender{"gobreaker and x/time/rate alone", handTwo(answer)},
	)
}

func BenchmarkStackByContextPeers(b *testing.B) {
	compare(b,
		contender{"go-kit", kitFour(answerByContext)},
		contender{"go-resiliency", resiliencyFour(answerByContext)},
		contender{"cenkalti/backoff", backoffFour(answerByContext)},
		contender{"by hand", handFour(answerByContext)},
	)
}

func BenchmarkTimeoutPeers(b *testing.B) {
	compare(b, contender{"go-resiliency", resiliencyTimeout(answer)}, contender{"by hand", handTimeout(answer)})
}

func BenchmarkRetryPeers(b *testing.B) {
	compare(b,
		contender{"go-resiliency", resiliencyRetry(answer)},
		contender{"cenkalti/backoff", backoffRetry(answer)},
		contender{"by hand", handRetry(answer)},
	)
}

func BenchmarkRateLimitPeers(b *testing.B) {
	compare(b, contender{"go-kit", kit(kitRateLimit()(kitEndpoint(answer)))}, contender{"by hand", handRateLimit(answer)})
}

func BenchmarkBreakerPeers(b *testing.B) {
	compare(b,
		contender{"go-kit", kit(kitBreaker()(kitEndpoint(answer)))},
		contender{"go-resiliency", resiliencyBreaker(answer)},
		contender{"by hand", handBreaker(answer)},
	)
}

// go-kit: endpoints of any to any, the timeout a part of the retry.

func kitEndpoint(service call) endpoint.Endpoint {
	return func(ctx context.Context, req any) (any, error) { return service(ctx, req.(int)) }
}

func kit(e endpoint.Endpoint) call {
	return func(ctx context.Context, n int) (int, error) {
		resp, err := e(ctx, n)
		if err != nil {
			return 0, err
		}
		return resp.(int), nil
	}
}

func kitBreaker() endpoint.Middleware {
	return kitbreaker.Gobreaker(gobreaker1.NewCircuitBreaker(gobreaker1.Settings{}))
}

func kitRateLimit() endpoint.Middleware {
	return kitratelimit.NewDelayingLimiter(rate.NewLimiter(plenty, plenty))
}

func kitFour(service call) call {
	e := kitRateLimit()(kitBreaker()(kitEndpoint(service)))
	return kit(lb.Retry(3, time.Minute, lb.NewRoundRobin(sd.FixedEndpointer{e})))
}

// go-resiliency: functions of no arguments to an error.

func resiliencyTimeout(service call) call {
	d := deadline.New(time.Minute)
	return func(ctx context.Context, n int) (resp int, err error) {
		err = d.Run(func(<-chan struct{}) (err error) {
			resp, err = service(ctx, n)
			return err
		})
		return resp, err
	}
}

func resiliencyRetry(service call) call {
	r := retrier.New(retrier.ExponentialBackoff(2, 50*time.Millisecond), nil)
	return func(ctx context.Context, n int) (resp int, err error) {
		err = r.RunCtx(ctx, func(ctx context.Context) (err error) {
			resp, err = service(ctx, n)
			return err
		})
		return resp, err
	}
}

func resiliencyBreaker(service call) call {
	b := breaker.New(5, 1, time.Minute)
	return func(ctx context.Context, n int) (resp int, err error) {
		err = b.Run(func() (err error) {
			resp, err = service(ctx, n)
			return err
		})
		return resp, err
	}
}

func resiliencyFour(service call) call {
	return resiliencyTimeout(resiliencyRetry(handRateLimit(resiliencyBreaker(service))))
}

// cenkalti/backoff: a retry.

func backoffRetry(service call) call {
	return func(ctx context.Context, n int) (int, error) {
		return backoff.Retry(ctx, func() (int, error) { return service(ctx, n) }, backoff.WithMaxTries(3))
	}
}

func backoffFour(service call) call {
	return handTimeout(backoffRetry(handRateLimit(handBreaker(service))))
}

// By hand, as one writes it in an afternoon.

func handTimeout(service call) call {
	return func(ctx context.Context, n int) (int, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return service(ctx, n)
	}
}

func handRetry(service call) call {
	return func(ctx context.Context, n int) (resp int, err error) {
		for attempt := range 3 {
			if resp, err = service(ctx, n); err == nil || errors.Is(err, context.Canceled) {
				return resp, err
			}
			select {
			case <-time.After(50 * time.Millisecond << attempt):
			case <-ctx.Done():
				return resp, err
			}
		}
		return resp, err
	}
}

func handRateLimit(service call) call {
	limiter := rate.NewLimiter(plenty, plenty)
	return func(ctx context.Context, n int) (int, error) {
		if err := limiter.Wait(ctx); err != nil {
			return 0, err
		}
		return service(ctx, n)
	}
}

func handBreaker(service call) call {
	b := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{})
	return func(ctx context.Context, n int) (int, error) {
		return b.Execute(func() (int, error) { return service(ctx, n) })
	}
}

func handFour(service call) call {
	return handTimeout(handRetry(handRateLimit(handBreaker(service))))
}

// handTwo is what the stack of four cannot be faster than: the libraries that count
// its tokens and its failures.
func handTwo(service call) call {
	limiter, guarded := rate.NewLimiter(plenty, plenty), handBreaker(service)
	return func(ctx context.Context, n int) (int, error) {
		if !limiter.Allow() {
			return 0, errors.New("no token")
		}
		return guarded(ctx, n)
	}
}
