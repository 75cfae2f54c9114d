package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/layertest"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
	telemetry "github.com/turretgo/turret/otel"
)

type service = turret.Service[string, string]

// stack is one with layers between the two of telemetry.
func stack(o telemetry.Options, fn func(context.Context, string) (string, error), layers ...turret.Layer[string, string]) service {
	return turret.NewBuilder[string, string]().
		Use(telemetry.Layer[string, string](o)).
		Use(layers...).
		Use(telemetry.AttemptLayer[string, string](o)).
		ServiceFunc(fn)
}

func fine(context.Context, string) (string, error) { return "fine", nil }

func TestLayersConform(t *testing.T) {
	b := newBackend(t)
	layertest.Run(t, telemetry.Layer[string, string](b.options("a")))
	layertest.Run(t, telemetry.AttemptLayer[string, string](b.options("b")))
}

func TestInvalidNameIsRefused(t *testing.T) {
	o := telemetry.Options{Name: "\xff"}
	require.ErrorContains(t, o.Validate(), "not UTF-8")
	require.PanicsWithError(t, o.Validate().Error(), func() { telemetry.Layer[int, int](o) })
	require.PanicsWithError(t, o.Validate().Error(), func() { telemetry.AttemptLayer[int, int](o) })
	require.PanicsWithError(t, o.Validate().Error(), func() { telemetry.Instrument(o) })
	require.NoError(t, telemetry.Options{}.Validate())
}

func TestRetriedCallIsOneSpanWithOneForEachAttempt(t *testing.T) {
	b := newBackend(t)
	failures := 2
	svc := stack(b.options("web"), func(ctx context.Context, _ string) (string, error) {
		require.True(t, trace.SpanFromContext(ctx).IsRecording())
		if failures--; failures >= 0 {
			return "", turret.WithClass(errors.New("busy"), turret.Throttled)
		}
		return "fine", nil
	}, retry.Layer[string, string](retry.Options{MaxAttempts: 3, Backoff: retry.Backoff{Min: 1, Max: 1}}))
	_, err := svc.Call(t.Context(), "request")
	require.NoError(t, err)

	calls, attempts := b.named("turret.call"), b.named("turret.attempt")
	require.Len(t, calls, 1)
	require.Len(t, attempts, 3)
	require.Equal(t, trace.SpanKindInternal, calls[0].SpanKind)
	require.Equal(t, "web", attr(calls[0], "turret.stack.name"))
	require.Equal(t, "ok", attr(calls[0], "turret.outcome"))
	require.Nil(t, attr(calls[0], "error.type"))
	require.Equal(t, codes.Unset, calls[0].Status.Code)
	require.Equal(t, []string{"turret.retry.retry", "turret.retry.retry"}, events(calls[0]))
	for i, a := range attempts {
		require.Equal(t, trace.SpanKindClient, a.SpanKind)
		require.Equal(t, calls[0].SpanContext.SpanID(), a.Parent.SpanID())
		require.Equal(t, int64(i+1), attr(a, "turret.attempt"))
	}
	require.Equal(t, "throttled", attr(attempts[0], "error.type"))
	require.Equal(t, codes.Error, attempts[0].Status.Code)
	require.Equal(t, "throttled", attempts[0].Status.Description)
	require.Equal(t, "ok", attr(attempts[2], "turret.outcome"))

	points := b.points()
	require.Equal(t, 1.0, points["turret.call.duration{turret.outcome=ok,turret.stack.name=web}"])
	require.Equal(t, 1.0, points["turret.attempt.duration{turret.outcome=ok,turret.stack.name=web}"])
	require.Equal(t, 2.0, points["turret.attempt.duration{error.type=throttled,turret.outcome=throttled,turret.stack.name=web}"])
	require.Equal(t, 2.0, points["turret.events{error.type=throttled,turret.event.kind=retry,turret.layer.type=retry,turret.stack.name=web}"])
	require.Contains(t, points, "turret.active_calls{turret.stack.name=web}")
	require.Zero(t, points["turret.active_calls{turret.stack.name=web}"])
	require.Zero(t, sum(points, "turret.active_attempts"))
}

func TestEachClassIsAnOutcome(t *testing.T) {
	for class := turret.Unknown; class <= turret.Rejected+1; class++ {
		want := class.String()
		if class > turret.Rejected {
			want = "unknown"
		}
		t.Run(class.String(), func(t *testing.T) {
			b := newBackend(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			svc := stack(b.options(""), func(ctx context.Context, _ string) (string, error) {
				if class == turret.Canceled {
					cancel()
					return "", ctx.Err()
				}
				return "", turret.WithClass(errors.New("no"), class)
			})
			_, err := svc.Call(ctx, "")
			require.Error(t, err)
			span := b.named("turret.call")[0]
			require.Equal(t, want, attr(span, "turret.outcome"))
			require.Equal(t, want, attr(span, "error.type"))
			require.Equal(t, class != turret.Canceled, span.Status.Code == codes.Error, "a caller that went away is no failure")
			require.Equal(t, 1.0, b.points()["turret.call.duration{error.type="+want+",turret.outcome="+want+"}"])
			require.Nil(t, attr(span, "turret.stack.name"), "there is no name")
		})
	}
}

func TestPanicIsTold(t *testing.T) {
	b := newBackend(t)
	svc := stack(b.options(""), func(context.Context, string) (string, error) { panic("oh") })
	require.PanicsWithValue(t, "oh", func() { svc.Call(t.Context(), "") })
	require.Equal(t, "panic", attr(b.named("turret.call")[0], "error.type"))
	require.Equal(t, 1.0, sum(b.points(), "turret.attempt.duration", "error.type=panic"))
	require.Zero(t, sum(b.points(), "turret.active_calls"))
	require.Zero(t, sum(b.points(), "turret.active_attempts"))
}

func TestCallsUnderWayAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		let := make(chan struct{})
		svc := stack(b.options("web"), func(context.Context, string) (string, error) { <-let; return "", nil },
			concurrency.Layer[string, string](concurrency.Options{Max: 2, MaxQueue: 10}))
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { svc.Call(t.Context(), "") })
		}
		synctest.Wait()
		points := b.points()
		require.Equal(t, 5.0, points["turret.active_calls{turret.stack.name=web}"])
		require.Equal(t, 2.0, points["turret.active_attempts{turret.stack.name=web}"])
		require.Equal(t, 2.0, points["turret.concurrency.in_flight{turret.stack.name=web}"])
		require.Equal(t, 2.0, points["turret.concurrency.limit{turret.stack.name=web}"])
		require.Equal(t, 3.0, points["turret.concurrency.queue{turret.stack.name=web}"])
		<-time.After(time.Second)
		close(let)
		wg.Wait()
		require.Zero(t, b.points()["turret.concurrency.queue{turret.stack.name=web}"])
		require.Equal(t, 3.0, sum(b.points(), "turret.events", "turret.layer.type=concurrency", "turret.event.kind=wait"))
	})
}

func TestStateOfABreakerIsOneOfThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		down := true
		svc := stack(b.options("web"), func(context.Context, string) (string, error) {
			if down {
				return "", errors.New("down")
			}
			return "", nil
		}, breaker.Layer[string, string](gobreaker.Settings{Name: "kms", Timeout: time.Second}))
		state := func() string {
			points := b.points()
			var is []string
			for _, s := range []string{"closed", "half-open", "open"} {
				name := "turret.breaker.state{turret.layer.name=kms,turret.stack.name=web,turret.state=" + s + "}"
				require.Contains(t, points, name)
				if points[name] == 1 {
					is = append(is, s)
				}
			}
			return strings.Join(is, " and ")
		}
		require.Equal(t, "closed", state(), "before any call")
		for range 10 {
			svc.Call(t.Context(), "")
		}
		require.Equal(t, "open", state())
		require.InDelta(t, 1, b.points()["turret.breaker.half_open_in{turret.layer.name=kms,turret.stack.name=web}"], 1e-6, "in seconds")
		<-time.After(time.Second + 1)
		require.Equal(t, "half-open", state())
		down = false
		_, err := svc.Call(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "closed", state())

		refused := b.named("turret.call")[9]
		require.Equal(t, []string{"turret.breaker.refuse"}, events(refused))
		require.Equal(t, "rejected", attr(refused, "error.type"))
		require.Equal(t, 3.0, sum(b.points(), "turret.events", "turret.layer.type=breaker", "turret.event.kind=change"))
		require.Len(t, b.named("turret.attempt"), 7, "a refusal is no attempt")
	})
}

func TestReplicasAreToldApart(t *testing.T) {
	b := newBackend(t)
	o := b.options("web")
	replica := func(name string, err error) service {
		return turret.NewBuilder[string, string]().
			Use(turret.LayerFunc("replica", func(ctx context.Context, req string, next service) (string, error) {
				return next.Call(turret.WithReplica(ctx, name), req)
			})).
			Use(ratelimit.Layer[string, string](ratelimit.Options{Rate: 100, Burst: 10})).
			Use(telemetry.AttemptLayer[string, string](o)).
			ServiceFunc(func(context.Context, string) (string, error) { return "", err })
	}
	svc := telemetry.Layer[string, string](o)(failover.New(failover.Options{Names: []string{"eu", "us"}, Failures: 3},
		replica("eu", turret.WithClass(errors.New("down"), turret.Transient)), replica("us", nil)))
	defer turret.Close(svc)
	_, err := svc.Call(t.Context(), "")
	require.NoError(t, err)

	call := b.named("turret.call")[0]
	require.Equal(t, []string{"turret.failover.next"}, events(call))
	details := list(call.Events[0].Attributes)
	require.Contains(t, details, "turret.event.from=eu,turret.event.to=us")
	require.Contains(t, details, "error.type=transient")
	attempts := b.named("turret.attempt")
	require.Equal(t, "eu", attr(attempts[0], "turret.replica"))
	require.Equal(t, "us", attr(attempts[1], "turret.replica"))

	points := b.points()
	require.Equal(t, 1.0, sum(points, "turret.attempt.duration", "turret.replica=eu", "error.type=transient"))
	require.Equal(t, 1.0, sum(points, "turret.attempt.duration", "turret.replica=us", "turret.outcome=ok"))
	require.Equal(t, 1.0, points["turret.failover.health{turret.replica=eu,turret.stack.name=web,turret.state=ailing}"])
	require.Equal(t, 1.0, points["turret.failover.health{turret.replica=us,turret.stack.name=web,turret.state=well}"])
	require.Equal(t, 0.0, points["turret.failover.health{turret.replica=us,turret.stack.name=web,turret.state=away}"])
	require.Contains(t, points, "turret.failover.health{turret.replica=us,turret.stack.name=web,turret.state=away}")
	require.Equal(t, 1.0, points["turret.failover.failures{turret.replica=eu,turret.stack.name=web}"])
	require.Contains(t, points, "turret.ratelimit.tokens{turret.replica=eu,turret.stack.name=web}")
	require.Contains(t, points, "turret.ratelimit.tokens{turret.replica=us,turret.stack.name=web}")
}

// The loser of a hedge goes on when the call has returned, and its span ended.
func TestLateLoserOfAHedgeDoesNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		var mu sync.Mutex
		calls := 0
		svc := stack(b.options("web"), func(ctx context.Context, _ string) (string, error) {
			mu.Lock()
			calls++
			first := calls == 1
			mu.Unlock()
			if first {
				<-time.After(time.Minute) // whatever ctx says
				turret.Report(ctx, turret.Event{Layer: "driver", Kind: turret.EventBreak})
				return "", errors.New("late")
			}
			return "fine", nil
		}, hedge.Layer[string, string](hedge.Options{Delay: time.Second, Budget: hedge.NewBudget(1)}))
		_, err := svc.Call(t.Context(), "")
		require.NoError(t, err)
		call := b.named("turret.call")
		require.Len(t, call, 1)
		require.Equal(t, []string{"turret.hedge.hedge", "turret.hedge.win"}, events(call[0]))
		require.Equal(t, 1.0, sum(b.points(), "turret.active_attempts"))

		<-time.After(2 * time.Minute)
		require.Len(t, b.named("turret.attempt"), 2)
		require.Len(t, b.named("turret.call")[0].Events, 2)
		require.Zero(t, sum(b.points(), "turret.active_attempts"))
		require.Equal(t, 1.0, sum(b.points(), "turret.events", "turret.layer.type=driver"), "metrics know of it")
	})
}

func TestTimeoutsAreToldByWhoseTimeRanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		svc := stack(b.options(""), func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() },
			timeout.Layer[string, string](time.Second))
		_, err := svc.Call(t.Context(), "")
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, "transient", attr(b.named("turret.call")[0], "turret.outcome"))
		require.Equal(t, "transient", attr(b.named("turret.attempt")[0], "turret.outcome"), "the service did not answer in time")

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = svc.Call(ctx, "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, "canceled", attr(b.named("turret.attempt")[1], "turret.outcome"), "its caller had no time")
	})
}

func TestErrorTextIsToldWhereAsked(t *testing.T) {
	for _, asked := range []bool{false, true} {
		b := newBackend(t)
		o := b.options("web")
		if asked {
			o.ErrorText = error.Error
		}
		svc := stack(o, func(_ context.Context, req string) (string, error) { return "", fmt.Errorf("cannot parse %q", req) },
			retry.Layer[string, string](retry.Options{MaxAttempts: 2, Backoff: retry.Backoff{Min: 1, Max: 1}}))
		_, err := svc.Call(t.Context(), "my secret")
		require.Error(t, err)
		require.Equal(t, asked, strings.Contains(b.exported(), "my secret"))
		if asked {
			require.Equal(t, `cannot parse "my secret"`, attr(b.named("turret.attempt")[0], "error.message"))
			require.Contains(t, list(b.named("turret.call")[0].Events[0].Attributes), "error.message=")
			require.NotContains(t, list(nil)+strings.Join(present(b.points(), "turret.attempt.duration"), ""), "my secret")
		}
	}
}

func TestAnErrorTextThatPanicsEndsTheSpansAndComesUp(t *testing.T) {
	b := newBackend(t)
	o := b.options("web")
	o.ErrorText = func(err error) string { panic(err.Error()) }
	svc := stack(o, func(context.Context, string) (string, error) {
		return "", turret.WithClass(errors.New("my secret"), turret.Throttled)
	})
	require.PanicsWithValue(t, "my secret", func() { _, _ = svc.Call(t.Context(), "") })
	require.NotContains(t, b.exported(), "my secret")
	attempts, calls := b.named("turret.attempt"), b.named("turret.call")
	require.Len(t, attempts, 1)
	require.Equal(t, "throttled", attr(attempts[0], "turret.outcome"))
	require.Len(t, calls, 1)
	require.Equal(t, "panic", attr(calls[0], "turret.outcome"))
	points := b.points()
	require.Zero(t, sum(points, "turret.active_attempts"))
	require.Zero(t, sum(points, "turret.active_calls"))
	require.Equal(t, 1.0, sum(points, "turret.attempt.duration", "turret.outcome=throttled"))
	require.Equal(t, 1.0, sum(points, "turret.call.duration", "turret.outcome=panic"))
}

func TestTextsThatAreNotUTF8AreMended(t *testing.T) {
	b := newBackend(t)
	svc := stack(b.options("web"), func(ctx context.Context, _ string) (string, error) {
		turret.Report(ctx, turret.Event{Layer: "own\xff", Kind: "a b\xff", Name: "\xff"})
		return "", nil
	})
	_, err := svc.Call(turret.WithReplica(t.Context(), "eu\xff"), "")
	require.NoError(t, err)
	require.Equal(t, "eu\uFFFD", attr(b.named("turret.attempt")[0], "turret.replica"))
	require.Equal(t, []string{"turret.own\uFFFD.a_b\uFFFD"}, events(b.named("turret.call")[0]))
}

func TestSeriesAreBounded(t *testing.T) {
	b := newBackend(t)
	n := 0
	svc := stack(b.options("web"), func(ctx context.Context, _ string) (string, error) {
		turret.Report(ctx, turret.Event{Layer: "own", Kind: turret.EventKind(fmt.Sprint("kind ", n)), Name: fmt.Sprint(n)})
		return "", nil
	})
	for ; n < 1500; n++ {
		_, err := svc.Call(turret.WithReplica(t.Context(), fmt.Sprint("replica ", n)), "")
		require.NoError(t, err)
	}
	points := b.points()
	require.Len(t, present(points, "turret.call.duration"), 1)
	require.Len(t, present(points, "turret.attempt.duration"), 101)
	require.Equal(t, 1400.0, sum(points, "turret.attempt.duration", "otel.metric.overflow=true"))
	require.Equal(t, 1500.0, sum(points, "turret.attempt.duration"))
	require.Len(t, present(points, "turret.events"), 1001)
	require.Equal(t, 1500.0, sum(points, "turret.events"))
}
