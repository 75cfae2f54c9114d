package layertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/turretgo/turret/layertest.blockForEver"))
}

type (
	layer = turret.Layer[int, int]
	svc   = turret.Service[int, int]
	fn    = turret.ServiceFunc[int, int]
)

// around makes a layer of a function.
func around(call func(ctx context.Context, req int, next svc) (int, error)) layer {
	return turret.LayerFunc("around", call)
}

func TestGoodLayersConform(t *testing.T) {
	for name, tc := range map[string]struct {
		layer layer
		may   []Deviation
	}{
		"nothing":    {turret.Stack[int, int](), nil},
		"layer func": {around(func(ctx context.Context, req int, next svc) (int, error) { return next.Call(ctx, req) }), nil},
		"closure": {func(next svc) svc {
			return fn(func(ctx context.Context, req int) (int, error) { return next.Call(ctx, req) })
		}, nil},
		"timeout":     {timeout.Layer[int, int](5 * time.Second), nil},
		"retry":       {retry.Layer[int, int](retry.Options{}), []Deviation{MayRepeat}},
		"rate limit":  {ratelimit.Layer[int, int](ratelimit.Options{Rate: 100}), nil},
		"breaker":     {breaker.Layer[int, int](gobreaker.Settings{}), nil},
		"failover":    {func(next svc) svc { return failover.New(failover.Options{}, next, next) }, []Deviation{MayRepeat}},
		"concurrency": {bulkhead(10), nil},
		"a whole stack": {turret.Stack(
			timeout.Layer[int, int](time.Minute),
			retry.Layer[int, int](retry.Options{}),
			ratelimit.Layer[int, int](ratelimit.Options{Rate: 100}),
			breaker.Layer[int, int](gobreaker.Settings{}),
			timeout.Layer[int, int](5*time.Second),
		), []Deviation{MayRepeat}},
	} {
		t.Run(name, func(t *testing.T) { Run(t, tc.layer, tc.may...) })
	}
}

func TestAnyTypesOfRequestsAndResponses(t *testing.T) {
	type request struct {
		Name string
		Tags map[string][]int
		_    int
		Next *request
	}
	t.Run("structs", func(t *testing.T) { Run(t, retry.Layer[request, *request](retry.Options{}), MayRepeat) })
	t.Run("empty", func(t *testing.T) { Run(t, timeout.Layer[struct{}, error](time.Minute)) })
	t.Run("bool", func(t *testing.T) { Run(t, timeout.Layer[bool, [2]float64](time.Minute)) })
	t.Run("own samples", func(t *testing.T) {
		RunWith(t, turret.LayerFunc("valid only", func(ctx context.Context, req string, next turret.Service[string, any]) (any, error) {
			if !strings.HasPrefix(req, "user-") {
				return nil, turret.WithClass(errors.New("no user"), turret.Permanent)
			}
			return next.Call(ctx, req)
		}), Samples[string, any]{Request: func(n int) string { return fmt.Sprintf("user-%d", n) }})
	})
}

// bulkhead lets n calls through at a time, per service.
func bulkhead(n int) layer {
	return func(next svc) svc {
		places := make(chan struct{}, n)
		return fn(func(ctx context.Context, req int) (int, error) {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return 0, ctx.Err()
			}
			defer func() { <-places }()
			return next.Call(ctx, req)
		})
	}
}

// found collects what checks report, in place of a *testing.T.
type found struct{ texts []string }

func (f *found) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

// findings runs all checks, and returns what those say that fail, by their names.
func findings[Req, Resp any](t *testing.T, layer turret.Layer[Req, Resp], may Deviation) map[string][]string {
	failed := make(map[string][]string)
	for _, c := range checks[Req, Resp]() {
		var f found
		t.Run(c.name, func(t *testing.T) {
			if may&c.unless == 0 {
				c.try(t, &f, layer, Samples[Req, Resp]{}, may)
			}
		})
		if f.texts != nil {
			failed[c.name] = f.texts
			t.Log(c.name, "→", strings.Join(f.texts, "\n"))
		}
	}
	return failed
}

const (
	passesThrough = "passes requests and responses through"
	once          = "calls the service once"
	ctxValues     = "keeps context values"
	ctxDeadline   = "keeps the deadline"
	cancelled     = "returns soon after a cancel"
	late          = "returns soon after the deadline"
	tooLate       = "returns soon when called too late"
	waits         = "every wait ends with its context"
	errorsIs      = "inner errors are found by errors.Is"
	class         = "inner errors keep their class"
	retryAfter    = "inner errors keep their RetryAfter"
	panicking     = "a panic comes up in the caller"
	goexit        = "a Goexit comes up in the caller"
	apart         = "keeps 64 callers apart"
	goroutines    = "leaves no goroutine"
	describe      = "Describe reaches through"
	ready         = "Ready reaches through"
	closing       = "Close reaches through"
	fresh         = "fresh state each time it wraps"
	telling       = "tells its state, if it has one"
)

type badLayer struct {
	layer   layer
	fails   []string
	says    string
	excused Deviation
}

// Each bad layer fails the checks named, and no others. The first text has to
// contain says. With the deviations excused it fails none.
func badLayers() map[string]badLayer {
	return map[string]badLayer{
		"changes requests": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) { return next.Call(ctx, req+1) }),
			fails: []string{passesThrough, apart}, says: "the service got", excused: MayChangeValues,
		},
		"changes responses": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				resp, err := next.Call(ctx, req)
				return resp + 1, err
			}),
			fails: []string{passesThrough, apart}, says: "the caller got", excused: MayChangeValues,
		},
		"answers with the first response": {
			layer: func(next svc) svc {
				first := sync.OnceValue(func() int { resp, _ := next.Call(context.Background(), 1); return resp })
				return around(func(ctx context.Context, req int, next svc) (int, error) {
					resp, err := next.Call(ctx, req)
					if err == nil {
						resp = first()
					}
					return resp, err
				})(next)
			},
			fails: []string{passesThrough, once, ctxDeadline, ctxValues, apart}, says: "the caller got",
		},
		"answers by itself": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) { return -req, ctx.Err() }),
			fails: []string{passesThrough, once, ctxValues, cancelled, late, errorsIs, class, retryAfter, panicking, goexit, apart},
		},
		"calls twice": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				_, _ = next.Call(ctx, req)
				return next.Call(ctx, req)
			}),
			fails: []string{once}, says: "2 times, not once", excused: MayRepeat,
		},
		"loses context values": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				return next.Call(valueless{ctx}, req)
			}),
			fails: []string{ctxValues, apart}, says: "should hand on the context",
		},
		"loses the deadline": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				return next.Call(timeless{ctx}, req)
			}),
			fails: []string{ctxDeadline}, says: "has none, or a later one", excused: MayDetach,
		},
		"ignores its context": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				deadline, ok := ctx.Deadline()
				below := context.WithoutCancel(ctx)
				if ok {
					var cancel context.CancelFunc
					below, cancel = context.WithDeadline(below, deadline)
					defer cancel()
				}
				return next.Call(below, req)
			}),
			fails: []string{cancelled, tooLate, waits}, says: "has not returned 1s later",
		},
		"says of a cancel that the service failed": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				resp, err := next.Call(ctx, req)
				if err != nil && ctx.Err() == context.Canceled {
					err = verdict{err}
				}
				return resp, err
			}),
			fails: []string{cancelled, tooLate, apart}, says: "which means transient",
		},
		"has its own error for the caller's deadline": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				resp, err := next.Call(ctx, req)
				if errors.Is(err, context.DeadlineExceeded) {
					err = errors.New("too slow")
				}
				return resp, err
			}),
			fails: []string{late}, says: "errors.Is does not find",
		},
		"answers for a hung service": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				resp, err := next.Call(ctx, req)
				if errors.Is(err, context.DeadlineExceeded) {
					err = nil
				}
				return resp, err
			}),
			fails: []string{late}, says: "it should return its context's error", excused: MayReplaceErrors,
		},
		"gives up by itself": {
			layer: timeout.Layer[int, int](time.Millisecond),
			fails: []string{cancelled, late, apart}, says: "its context was alive",
		},
		"leaves its service's call under way": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				below := ctx
				if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < time.Second {
					below = context.WithoutCancel(ctx)
				}
				return detached(ctx, func() (int, error) { return next.Call(below, req) })
			}),
			fails: []string{late}, says: "left a call to the service under way",
		},
		"does not look at its context first": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				if ctx.Err() != nil {
					<-time.After(time.Minute)
				}
				return next.Call(ctx, req)
			}),
			fails: []string{tooLate}, says: "has not returned 1s later",
		},
		"waits for a place whatever its context says": {
			layer: func(next svc) svc {
				places := make(chan struct{}, 10)
				return fn(func(ctx context.Context, req int) (int, error) {
					places <- struct{}{}
					defer func() { <-places }()
					return next.Call(ctx, req)
				})
			},
			fails: []string{waits}, says: "has not returned 1s later",
		},
		"loses errors": {
			layer: mapping(func(err error) error { return opaque{err} }),
			fails: []string{errorsIs, apart}, says: "errors.Is does not find it", excused: MayReplaceErrors,
		},
		"makes successes of errors": {
			layer: mapping(func(err error) error {
				if errors.Is(err, context.Canceled) {
					return err
				}
				return nil
			}),
			fails: []string{errorsIs, class, retryAfter, apart}, excused: MayReplaceErrors,
		},
		"reclassifies": {
			layer: mapping(func(err error) error {
				if turret.Classify(err) == turret.Throttled {
					err = turret.WithClass(err, turret.Transient)
				}
				return err
			}),
			fails: []string{class}, says: "would act on the wrong class", excused: MayReclassify,
		},
		"reclassifies Permanent": {
			layer: mapping(func(err error) error {
				if turret.Classify(err) == turret.Permanent {
					err = turret.WithClass(err, turret.Transient)
				}
				return err
			}),
			fails: []string{class}, says: "would act on the wrong class",
		},
		"loses RetryAfter": {
			layer: mapping(func(err error) error { return impatient{err} }),
			fails: []string{retryAfter}, says: "asks to try again in 3s", excused: MayReclassify,
		},
		"recovers panics": {
			layer: around(func(ctx context.Context, req int, next svc) (resp int, err error) {
				defer func() {
					if p := recover(); p != nil {
						err = fmt.Errorf("recovered: %v", p)
					}
				}()
				return next.Call(ctx, req)
			}),
			fails: []string{panicking}, says: "should be the same panic", excused: MayRecoverPanics,
		},
		"replaces panics": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				defer func() {
					if p := recover(); p != nil {
						panic(fmt.Sprint("below: ", p))
					}
				}()
				return next.Call(ctx, req)
			}),
			fails: []string{panicking}, says: "should be the same panic",
		},
		"keeps the place of a panic": {
			layer: func(next svc) svc {
				places := make(chan struct{}, 10)
				return fn(func(ctx context.Context, req int) (int, error) {
					select {
					case places <- struct{}{}:
					case <-ctx.Done():
						return 0, ctx.Err()
					}
					resp, err := next.Call(ctx, req)
					<-places
					return resp, err
				})
			},
			fails: []string{panicking, goexit}, says: "has not returned 1h0m0s later", excused: MayEndOnPanic,
		},
		"ends at a panic": {
			layer: func(next svc) svc {
				var dead atomic.Bool
				return fn(func(ctx context.Context, req int) (int, error) {
					if dead.Load() {
						return 0, errors.New("dead")
					}
					returned := false
					defer func() { dead.Store(!returned || dead.Load()) }()
					resp, err := next.Call(ctx, req)
					returned = true
					return resp, err
				})
			},
			fails: []string{panicking, goexit}, says: "a call that the service answers ended with", excused: MayEndOnPanic,
		},
		"takes a Goexit for an answer": {
			layer: around(func(ctx context.Context, req int, next svc) (resp int, err error) {
				var panicked any
				var done sync.WaitGroup
				done.Go(func() {
					defer func() { panicked = recover() }()
					resp, err = next.Call(ctx, req)
				})
				done.Wait()
				if panicked != nil {
					panic(panicked)
				}
				return resp, err
			}),
			fails: []string{goexit}, says: "its goroutine should end too",
		},
		"mixes up requests": {
			layer: func(next svc) svc {
				var last atomic.Int64
				return fn(func(ctx context.Context, req int) (int, error) {
					last.Store(int64(req))
					runtime.Gosched()
					<-time.After(1)
					return next.Call(ctx, int(last.Load()))
				})
			},
			fails: []string{apart}, says: "the request of one caller and the context of another", excused: MayChangeValues,
		},
		"mixes up responses": {
			layer: func(next svc) svc {
				var last atomic.Int64
				return fn(func(ctx context.Context, req int) (int, error) {
					resp, err := next.Call(ctx, req)
					if err != nil {
						return 0, err
					}
					last.Store(int64(resp))
					<-time.After(1)
					return int(last.Load()), nil
				})
			},
			fails: []string{apart}, says: "the layer mixes up its callers",
		},
		"refuses a crowd": {
			layer: func(next svc) svc {
				var underWay atomic.Int64
				var crowd atomic.Bool
				return fn(func(ctx context.Context, req int) (int, error) {
					if underWay.Add(1) > 1 {
						crowd.Store(true)
					}
					defer underWay.Add(-1)
					<-time.After(1) // when all are here
					if crowd.Load() {
						return 0, newFault(turret.Rejected)
					}
					return next.Call(ctx, req)
				})
			},
			fails: []string{apart}, says: "none of 64 calls made at once",
		},
		"leaves goroutines": {
			layer: around(func(ctx context.Context, req int, next svc) (int, error) {
				go func() { <-time.After(time.Minute) }()
				return next.Call(ctx, req)
			}),
			fails: []string{goroutines}, says: "a goroutine is left",
		},
		"says how it is": {
			layer: func(n svc) svc { return &talkative{svc: n} },
			fails: []string{describe}, says: "turret.Describe changed",
		},
		"hides what is below": {
			layer: func(n svc) svc { return hiding{n} },
			fails: []string{describe, ready, closing}, says: "does not show the service below", excused: MayHideBelow,
		},
		"has a state without a name": {
			layer: stating(func(int64) slog.Attr { return slog.Group("", slog.Int("calls", 1)) }),
			fails: []string{telling}, says: "a group whose key is the name of the layer",
		},
		"has a state that is no group": {
			layer: stating(func(calls int64) slog.Attr { return slog.Int64("calls", calls) }),
			fails: []string{telling}, says: "a group whose key is the name of the layer",
		},
		"has a state with anything in it": {
			layer: stating(func(int64) slog.Attr {
				return slog.Group("layer", slog.Group("last", slog.Any("request", struct{}{})))
			}),
			fails: []string{telling}, says: "has an attribute layer.last.request of kind Any",
		},
		"has a state that grows": {
			layer: stating(func(calls int64) slog.Attr {
				if calls == 0 {
					return slog.Group("layer")
				}
				return slog.Group("layer", slog.Int64("calls", calls))
			}),
			fails: []string{telling}, says: "other attributes after a few calls",
		},
		"has a state that waits": {
			layer: stating(func(int64) slog.Attr {
				<-time.After(time.Minute)
				return slog.Group("layer")
			}),
			fails: []string{telling}, says: "should not wait for anything",
		},
		"is never ready": {
			layer: func(n svc) svc { return unready{n} },
			fails: []string{ready}, says: "of a fresh layer around a ready service",
		},
		"is ready whatever is below": {
			layer: func(n svc) svc { return always{n} },
			fails: []string{ready}, says: "the service below is not ready", excused: MayReplaceErrors,
		},
		"cannot be closed twice": {
			layer: func(n svc) svc { return &closeOnce{svc: n, done: make(chan struct{})} },
			fails: []string{closing}, says: "called again, panics", excused: MayHideBelow,
		},
		"shares state": {
			layer: func() layer {
				var underWay atomic.Int64
				return around(func(ctx context.Context, req int, next svc) (int, error) {
					defer underWay.Add(-1)
					if underWay.Add(1) > 64 {
						return 0, newFault(turret.Rejected)
					}
					return next.Call(ctx, req)
				})
			}(),
			fails: []string{fresh}, says: "the layer shares state between them", excused: MayShareState,
		},
		"shares a queue": {
			layer: func() layer {
				var failed atomic.Int64
				return around(func(ctx context.Context, req int, next svc) (int, error) {
					if failed.Load() >= 64 {
						<-time.After(time.Millisecond)
					}
					resp, err := next.Call(ctx, req)
					if turret.Classify(err) == turret.Transient {
						failed.Add(1)
					}
					return resp, err
				})
			}(),
			fails: []string{fresh}, says: "and the first call to another", excused: MayShareState,
		},
	}
}

func TestEachCheckFailsForItsBadLayer(t *testing.T) {
	checked := make(map[string]bool)
	for name, tc := range badLayers() {
		t.Run(name, func(t *testing.T) {
			failed := findings(t, tc.layer, 0)
			for _, c := range tc.fails {
				require.Contains(t, failed, c)
				checked[c] = true
			}
			require.Len(t, failed, len(tc.fails))
			if tc.says != "" {
				require.Contains(t, failed[tc.fails[0]][0], tc.says)
			}
			if tc.excused != 0 {
				require.Empty(t, findings(t, tc.layer, tc.excused))
			}
		})
	}
	for _, c := range checks[int, int]() {
		require.True(t, checked[c.name], "no bad layer fails %q", c.name)
	}
}

// stating is a layer that tells a state made of how many calls it had.
func stating(state func(calls int64) slog.Attr) layer {
	return func(next svc) svc { return &stateful{svc: next, state: state} }
}

type stateful struct {
	svc
	calls atomic.Int64
	state func(calls int64) slog.Attr
}

func (s *stateful) Call(ctx context.Context, req int) (int, error) {
	s.calls.Add(1)
	return s.svc.Call(ctx, req)
}

func (s *stateful) State() slog.Attr { return s.state(s.calls.Load()) }

func TestALayerWithAStateConforms(t *testing.T) {
	require.Empty(t, findings(t, stating(func(calls int64) slog.Attr {
		return slog.Group("layer", slog.Int64("calls", calls), slog.Group("replica", slog.Bool("away", calls > 3)))
	}), 0))
}

func TestALayerMaySkipItsService(t *testing.T) {
	var cache turret.Layer[bool, int] = func(next turret.Service[bool, int]) turret.Service[bool, int] {
		var known sync.Map
		return turret.LayerFunc("cache", func(ctx context.Context, req bool, next turret.Service[bool, int]) (int, error) {
			if resp, ok := known.Load(req); ok {
				return resp.(int), nil
			}
			resp, err := next.Call(ctx, req)
			if err == nil {
				known.Store(req, resp)
			}
			return resp, err
		})(next)
	}
	require.Contains(t, findings(t, cache, 0), passesThrough)
	require.Empty(t, findings(t, cache, MaySkip))

	var never turret.Layer[bool, int] = turret.LayerFunc("never", func(context.Context, bool, turret.Service[bool, int]) (int, error) { return 0, nil })
	require.Contains(t, findings(t, never, MaySkip), passesThrough)
}

func TestABlockedGoroutineFailsItsCheckOnly(t *testing.T) {
	c := checks[int, int]()[0]
	var f found
	c.try(t, &f, func(n svc) svc { go blockForEver(); return n }, Samples[int, int]{}, 0)
	require.Len(t, f.texts, 1)
	require.Contains(t, f.texts[0], "the layer left goroutines blocked: deadlock")
}

func blockForEver() { <-make(chan int) }

// mapping is a layer that changes errors.
func mapping(change func(error) error) layer {
	return around(func(ctx context.Context, req int, next svc) (int, error) {
		resp, err := next.Call(ctx, req)
		if err != nil && ctx.Err() == nil {
			err = change(err)
		}
		return resp, err
	})
}

// detached returns when ctx is done, whatever f does.
func detached(ctx context.Context, f func() (int, error)) (int, error) {
	type result struct {
		resp     int
		err      error
		returned bool
		panicked any
	}
	ended := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if !r.returned {
				r.panicked = recover()
			}
			ended <- r
		}()
		r.resp, r.err = f()
		r.returned = true
	}()
	select {
	case r := <-ended:
		if r.panicked != nil {
			panic(r.panicked)
		}
		if !r.returned {
			runtime.Goexit()
		}
		return r.resp, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

type valueless struct{ context.Context }

func (valueless) Value(any) any { return nil }

type timeless struct{ context.Context }

func (timeless) Deadline() (deadline time.Time, ok bool) { return deadline, false }

// opaque keeps an error's class and RetryAfter, but not the error.
type opaque struct{ err error }

func (o opaque) Error() string                     { return o.err.Error() }
func (o opaque) Class() turret.Class               { return turret.Classify(o.err) }
func (o opaque) RetryAfter() (time.Duration, bool) { return turret.RetryAfter(o.err) }

type impatient struct{ error }

func (i impatient) Unwrap() error                   { return i.error }
func (impatient) RetryAfter() (time.Duration, bool) { return 0, false }

// verdict is of class Transient, whoever ended the call.
type verdict struct{ error }

func (v verdict) Unwrap() []error   { return []error{v.error} }
func (verdict) Class() turret.Class { return turret.Transient }

type talkative struct {
	svc
	calls atomic.Int64
}

func (s *talkative) Call(ctx context.Context, req int) (int, error) {
	s.calls.Add(1)
	return s.svc.Call(ctx, req)
}
func (s *talkative) String() string { return fmt.Sprint("calls: ", s.calls.Load()) }
func (s *talkative) Unwrap() []any  { return []any{s.svc} }

type hiding struct{ svc }

func (hiding) String() string { return "hiding" }
func (hiding) Unwrap() []any  { return nil }

type unready struct{ svc }

func (unready) String() string  { return "unready" }
func (u unready) Unwrap() []any { return []any{u.svc} }
func (unready) Ready() error    { return newFault(turret.Rejected) }

// always hides Ready of what is below, and shows the rest.
type always struct{ svc }

func (always) String() string  { return "always" }
func (a always) Unwrap() []any { return []any{unasked{a.svc.(*service[int, int])}} }

type unasked struct{ s *service[int, int] }

func (u unasked) String() string { return u.s.String() }
func (u unasked) Close() error   { return u.s.Close() }

type closeOnce struct {
	svc
	done chan struct{}
}

func (*closeOnce) String() string  { return "close once" }
func (c *closeOnce) Unwrap() []any { return []any{c.svc} }
func (c *closeOnce) Close() error  { close(c.done); return nil }
