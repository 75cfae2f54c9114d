package logging_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/logging"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/reconnect"
	"github.com/turretgo/turret/middleware/retry"
)

// failing makes services that fail n times.
func failing(n int, err error) func() turret.ServiceFunc[string, string] {
	return func() turret.ServiceFunc[string, string] {
		var calls atomic.Int32
		return func(_ context.Context, req string) (string, error) {
			if int(calls.Add(1)) <= n {
				return "", err
			}
			return req, nil
		}
	}
}

// slowOnce makes a service whose first call hangs.
func slowOnce() turret.ServiceFunc[string, string] {
	var calls atomic.Int32
	return func(ctx context.Context, req string) (string, error) {
		if calls.Add(1) == 1 {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return req, nil
	}
}

// Each layer with hooks, as it is used, and what becomes of a failing service.
func TestHooksTellWhatLayersDo(t *testing.T) {
	down := turret.WithClass(errors.New("secret"), turret.Transient)
	type layer = turret.Layer[string, string]
	for name, tc := range map[string]struct {
		layer func(h *logging.Hooks) layer
		inner func() turret.ServiceFunc[string, string]
		calls int           // made one after the other
		pause time.Duration // after each
		want  []string
	}{
		"retry": {
			func(h *logging.Hooks) layer {
				return retry.Layer[string, string](retry.Options{OnRetry: h.Retry, Backoff: retry.Backoff{Min: time.Nanosecond, Max: time.Nanosecond}})
			},
			failing(2, down), 1, 0,
			[]string{
				`level=WARN msg=retry layer=web attempt=1 class=transient delay=`,
				`level=WARN msg=retry layer=web attempt=2 class=transient delay=`,
			},
		},
		"hedge": {
			func(h *logging.Hooks) layer {
				return hedge.Layer[string, string](hedge.Options{Delay: time.Second, Budget: hedge.NewBudget(1), OnHedge: h.Hedge, OnWin: h.HedgeWon})
			},
			slowOnce, 1, 0,
			[]string{
				`level=INFO msg="hedge sent" layer=web hedge=1 after=1s`,
				`level=INFO msg="hedge won" layer=web hedge=1 after=1s`,
			},
		},
		"rate limit": {
			func(h *logging.Hooks) layer {
				return ratelimit.Layer[string, string](ratelimit.Options{Rate: 1, Burst: 1, MaxWait: ratelimit.NoWait, OnWait: h.RateLimit})
			},
			failing(0, nil), 2, 0,
			[]string{`level=WARN msg="rate limit: call refused" layer=web waited=0s class=rejected`},
		},
		"rate limit, slow": {
			func(h *logging.Hooks) layer {
				return ratelimit.Layer[string, string](ratelimit.Options{Rate: 1, Burst: 1, OnWait: h.RateLimit})
			},
			failing(0, nil), 2, 0,
			[]string{`level=WARN msg="rate limit: call waited" layer=web waited=1s`},
		},
		"concurrency": {
			func(h *logging.Hooks) layer {
				limit := concurrency.New(1)
				o := concurrency.Options{Limit: limit, MaxQueue: concurrency.NoQueue, OnWait: h.Concurrency}
				inside := concurrency.Layer[string, string](o)
				return turret.Stack(inside, inside) // the outer one has the place
			},
			failing(0, nil), 1, 0,
			[]string{`level=WARN msg="concurrency: call refused" layer=web waited=0s class=rejected`},
		},
		"breaker": {
			func(h *logging.Hooks) layer {
				return breaker.Layer[string, string](gobreaker.Settings{Name: "kms", OnStateChange: h.Breaker, ReadyToTrip: func(c gobreaker.Counts) bool { return true }})
			},
			failing(1, down), 1, 0,
			[]string{`level=WARN msg="breaker opened" layer=web breaker=kms from=closed to=open`},
		},
		"failover": {
			func(h *logging.Hooks) layer {
				return func(s turret.Service[string, string]) turret.Service[string, string] {
					o := failover.Options{Names: []string{"east", "west"}, Failures: 1, OnFailover: h.Failover, OnChange: h.Replica}
					return failover.New(o, s, turret.ServiceFunc[string, string](echo))
				}
			},
			failing(1, down), 2, 2 * time.Second,
			[]string{
				`level=WARN msg="replica is away" layer=web replica=east`,
				`level=WARN msg=failover layer=web from=east to=west class=transient`,
				`level=INFO msg="replica is back" layer=web replica=east`,
			},
		},
		"balance": {
			func(h *logging.Hooks) layer {
				return func(s turret.Service[string, string]) turret.Service[string, string] {
					return balance.New(balance.Options{Names: []string{"a", "b"}, Failures: 1, Probation: time.Nanosecond, OnChange: h.Member}, s, s)
				}
			},
			failing(1, down), 3, 2 * time.Second,
			[]string{`level=WARN msg="member on probation" layer=web member=`, `level=INFO msg="member is back" layer=web member=`},
		},
		"reconnect": {
			func(h *logging.Hooks) layer {
				return func(s turret.Service[string, string]) turret.Service[string, string] {
					return reconnect.New(reconnect.Options{OnBroken: h.Broken}, func(context.Context) (turret.Service[string, string], error) { return s, nil })
				}
			},
			failing(1, down), 1, 0,
			[]string{`level=WARN msg="connection broken" layer=web class=transient`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w written
				svc := tc.layer(&logging.Hooks{Logger: w.logger(slog.LevelInfo), Name: "web", Slow: time.Second})(tc.inner())
				for range tc.calls {
					_, _ = svc.Call(t.Context(), "secret")
					<-time.After(tc.pause)
					synctest.Wait()
				}
				require.NoError(t, turret.Close(svc))
				require.Len(t, w.lines(), len(tc.want), w.String())
				for i, line := range w.lines() {
					require.Contains(t, line, tc.want[i])
				}
				require.NotContains(t, w.String(), "secret")
			})
		})
	}
}

func TestHooksTellErrorTextsOnlyIfAskedTo(t *testing.T) {
	var w written
	h := logging.Hooks{Logger: w.logger(slog.LevelInfo), ErrorText: error.Error, Trouble: slog.LevelError}
	h.Retry(t.Context(), retry.Event{Attempt: 1, Err: errors.New("no such key"), Class: turret.Unknown})
	require.Equal(t, []string{`level=ERROR msg=retry attempt=1 class=unknown delay=0s error="no such key"`}, w.lines())
}

func TestHooksTellWhatTheLimiterRefusedFromWhatIsBelow(t *testing.T) {
	var w written
	h := logging.Hooks{Logger: w.logger(slog.LevelInfo)}
	h.RateLimit(t.Context(), ratelimit.Wait{Err: breaker.ErrOpen})
	require.Equal(t, []string{`level=WARN msg="below the rate limit: call refused" waited=0s class=unknown`}, w.lines())
}

func TestHooksSayNothingOfWhoLeft(t *testing.T) {
	var w written
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := logging.Hooks{Logger: w.logger(slog.LevelDebug)}
	h.RateLimit(ctx, ratelimit.Wait{Err: ctx.Err()})
	h.RateLimit(t.Context(), ratelimit.Wait{Waited: time.Hour})
	require.Empty(t, w.String())
}

// An outage below a rate limit: a thousand refusals a second, for three seconds.
func TestInAnOutageHooksWriteSomeRecordsASecondAndHowManyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w written
		h := logging.Hooks{Logger: w.logger(slog.LevelInfo), Name: "web"}
		for range 3000 {
			h.RateLimit(t.Context(), ratelimit.Wait{Err: ratelimit.ErrLimited})
			<-time.After(time.Millisecond + time.Microsecond) // so that a second ends between two
		}
		<-time.After(time.Second)
		synctest.Wait()
		one := `level=WARN msg="rate limit: call refused" layer=web waited=0s class=unknown`
		rest := `level=WARN msg="records left out" layer=web of="rate limit: call refused" records=990`
		second := append(slices.Repeat([]string{one}, 10), rest)
		require.Equal(t, slices.Repeat(second, 3), w.lines())
	})
}

func TestARecordIsLeftOutForOthersOfItsKindOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w written
		h := logging.Hooks{Logger: w.logger(slog.LevelInfo), PerSecond: 1}
		for range 3 {
			h.Retry(t.Context(), retry.Event{Attempt: 1, Class: turret.Transient})
			h.Hedge(t.Context(), hedge.Event{Hedge: 1})
			h.Breaker("kms", gobreaker.StateClosed, gobreaker.StateOpen)
			h.Breaker("kms", gobreaker.StateOpen, gobreaker.StateHalfOpen)
			h.Replica(failover.Change{Name: "east", Away: true})
			h.Member(balance.Event{Name: "a"})
		}
		<-time.After(time.Second)
		synctest.Wait()
		count := func(text string) int { return strings.Count(w.String(), text) }
		require.Equal(t, 1, count("msg=retry"))
		require.Equal(t, 1, count(`level=WARN msg="records left out" of=retry records=2`))
		require.Equal(t, 1, count(`msg="hedge sent"`))
		require.Equal(t, 1, count(`level=INFO msg="records left out" of="hedge sent" records=2`))
		for _, change := range []string{"breaker opened", "breaker changed", "replica is away", "member is back"} {
			require.Equal(t, 3, count(change), "of a change of state none is left out")
		}
	})
}

func TestAllRecordsAreWrittenWhereAskedFor(t *testing.T) {
	var w written
	h := logging.Hooks{Logger: w.logger(slog.LevelInfo), PerSecond: -1}
	for range 100 {
		h.Retry(t.Context(), retry.Event{Attempt: 1})
	}
	require.Len(t, w.lines(), 100)
}

func TestARecordThatIsLeftOutCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // within a second
		asked := 0
		h := logging.Hooks{Logger: at(slog.LevelInfo), PerSecond: 1, ErrorText: func(error) string { asked++; return "" }}
		event := retry.Event{Attempt: 1, Err: errors.New("busy")}
		h.Retry(t.Context(), event)
		h.Retry(t.Context(), event)
		require.Equal(t, 1, asked)

		off := logging.Hooks{Logger: at(slog.LevelError), PerSecond: 1, ErrorText: func(error) string { asked++; return "" }}
		off.Retry(t.Context(), event)
		require.Equal(t, 1, asked)
	})
}

func TestHooksOfManyLayersAreOneAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w written
		h := logging.Hooks{Logger: w.logger(slog.LevelInfo)}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 100 {
					h.Retry(t.Context(), retry.Event{Attempt: 1})
				}
			})
		}
		all.Wait()
		<-time.After(time.Second)
		synctest.Wait()
		require.Len(t, w.lines(), 11)
		require.Contains(t, w.String(), "of=retry records=790")
	})
}
