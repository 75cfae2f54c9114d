package adaptive_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
)

// What a call counts as shows in what a hundred of them do to a limit that is
// at its Max: overload lowers it, answers that are slow do, and nothing else does.
func TestWhatCounts(t *testing.T) {
	const falls, stays = true, false
	for _, tt := range []struct {
		name  string
		err   error
		falls bool
	}{
		{"success is a sample", nil, falls},
		{"permanent is a sample", errPermanent, falls},
		{"throttled is overload", errThrottled, falls},
		{"a timeout below is overload", turret.WithClass(context.DeadlineExceeded, turret.Transient), falls},
		{"rejected is nothing", errRejected, stays},
		{"unknown is nothing", errUnknown, stays},
		{"transient is nothing", turret.WithClass(errUnknown, turret.Transient), stays},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := adaptive.New(adaptive.Options{Initial: 100, Max: 100})
				run := func(svc turret.Service[int, int]) {
					end := load(share(l, svc), 100)
					<-time.After(350 * time.Millisecond)
					end()
				}
				run(returning(10*time.Millisecond, nil))
				require.Equal(t, 100, l.Limit())
				run(returning(100*time.Millisecond, tt.err))
				if tt.falls {
					require.Less(t, l.Limit(), 100)
				} else {
					require.Equal(t, 100, l.Limit())
				}
			})
		})
	}
}

func TestAPanicIsNoSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Options{Initial: 100, Max: 100})
		end := load(share(l, returning(10*time.Millisecond, nil)), 100)
		<-time.After(350 * time.Millisecond)
		end()
		panics := share(l, turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
			<-time.After(100 * time.Millisecond)
			panic("below")
		}))
		for range 5 {
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					defer func() { assert.Equal(t, "below", recover()) }()
					_, _ = panics.Call(t.Context(), 1)
				})
			}
			all.Wait()
		}
		require.Equal(t, 100, l.Limit())
	})
}

func TestCanceledIsNoSample(t *testing.T) {
	for _, tt := range []struct {
		name string
		ctx  func() (context.Context, context.CancelFunc)
	}{
		{"by the caller", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}},
		{"by the caller's own deadline", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Second)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := adaptive.New(adaptive.Options{})
				svc := share(l, newServer(1, time.Hour))
				for range 5 {
					ctx, cancel := tt.ctx()
					var all sync.WaitGroup
					for range 20 {
						all.Go(func() {
							_, err := svc.Call(ctx, 1)
							assert.ErrorIs(t, err, ctx.Err())
						})
					}
					all.Wait()
					cancel()
				}
				require.Equal(t, 20, l.Limit())
				require.Zero(t, l.InFlight())
			})
		})
	}
}

func TestThrottledLowersTheLimitByHalfOfItsShare(t *testing.T) {
	for _, tt := range []struct {
		throttled int // of 100
		want      int
	}{{0, 200}, {10, 190}, {50, 150}, {100, 100}} {
		synctest.Test(t, func(t *testing.T) {
			l := adaptive.New(adaptive.Options{Initial: 200})
			n := 0
			svc := share(l, turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
				if n++; n == 100 {
					<-time.After(100 * time.Millisecond) // the window's end
				}
				if n <= tt.throttled {
					return 0, errThrottled
				}
				return 1, nil
			}))
			for range 100 {
				_, _ = svc.Call(t.Context(), 1)
			}
			require.Equal(t, tt.want, l.Limit())
		})
	}
}

func TestPassesThrough(t *testing.T) {
	svc := adaptive.Layer[int, int](adaptive.Options{})(turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) {
		return n + 1, errUnknown
	}))
	n, err := svc.Call(t.Context(), 41)
	require.Equal(t, 42, n)
	require.Equal(t, errUnknown, err)
}

func TestAPanicOrGoexitBelowGivesThePermitBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func()
	}{
		{"panic", func() { panic("below") }},
		{"goexit", runtime.Goexit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := adaptive.New(adaptive.Options{Max: 1, MaxQueue: adaptive.NoQueue})
			svc := share(l, turret.ServiceFunc[int, int](func(context.Context, int) (int, error) {
				assert.Equal(t, 1, l.InFlight())
				tt.end()
				return 0, nil
			}))
			for range 3 {
				var recovered any
				returned := false
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { recovered = recover() }()
					_, _ = svc.Call(context.Background(), 1)
					returned = true
				}()
				<-done
				require.False(t, returned)
				if tt.name == "panic" {
					require.Equal(t, "below", recovered, "it comes back as it was")
				}
				require.Zero(t, l.InFlight())
			}
		})
	}
}

func TestALimitSharedByStacksIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adaptive.New(adaptive.Options{Initial: 2, Max: 2, MaxQueue: adaptive.NoQueue})
		numbers := share(l, returning(time.Second, nil))
		words := adaptive.Share[string, string](l)(turret.ServiceFunc[string, string](func(_ context.Context, s string) (string, error) {
			<-time.After(time.Second)
			return s, nil
		}))
		go func() { _, _ = numbers.Call(context.Background(), 1) }()
		go func() { _, _ = words.Call(context.Background(), "a") }()
		synctest.Wait()
		require.Equal(t, 2, l.InFlight())
		_, err := numbers.Call(t.Context(), 1)
		require.ErrorIs(t, err, adaptive.ErrLimited)
		_, err = words.Call(t.Context(), "b")
		require.ErrorIs(t, err, adaptive.ErrLimited)
		<-time.After(time.Second)
		synctest.Wait()
		require.Zero(t, l.InFlight())
	})
}

func TestALayerMakesAFreshLimitForEachService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := adaptive.Layer[int, int](adaptive.Options{Max: 1, MaxQueue: adaptive.NoQueue})
		for range 2 {
			svc := layer(returning(time.Second, nil))
			go func() {
				_, err := svc.Call(context.Background(), 1)
				assert.NoError(t, err)
			}()
		}
		<-time.After(2 * time.Second)
	})
}

func TestOnChangeIsToldEachChangeInOrderAndMayCallThroughTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			l       *adaptive.Limit
			svc     turret.Service[int, int]
			changes []adaptive.Change
			reasons = map[adaptive.Reason]int{}
			told    = 20
		)
		l = adaptive.New(adaptive.Options{OnChange: func(c adaptive.Change) {
			assert.Equal(t, told, c.From, "no change is left out")
			assert.Equal(t, c.To, l.Limit())
			told = c.To
			changes = append(changes, c)
			reasons[c.Reason]++
			_, err := svc.Call(context.Background(), 1)
			assert.NoError(t, err)
		}})
		s := newServer(40, serviceTime)
		svc = share(l, s)
		end := load(svc, 200)
		<-time.After(8 * time.Second)
		s.setWorkers(10)
		<-time.After(time.Second)
		end()
		require.Equal(t, told, l.Limit())
		require.Equal(t, adaptive.Headroom, changes[0].Reason)
		require.Equal(t, serviceTime, changes[0].Latency)
		require.Equal(t, serviceTime, changes[0].Unloaded)
		require.Positive(t, reasons[adaptive.Latency])
		require.Positive(t, reasons[adaptive.Probe])
		require.Zero(t, reasons[adaptive.Overload])
	})
}

func TestReasonString(t *testing.T) {
	require.Equal(t, "headroom latency overload probe", adaptive.Headroom.String()+" "+adaptive.Latency.String()+" "+adaptive.Overload.String()+" "+adaptive.Probe.String())
	require.Equal(t, "reason 9", adaptive.Reason(9).String())
}

func TestDescribe(t *testing.T) {
	for _, tt := range []struct {
		o    adaptive.Options
		want string
	}{
		{adaptive.Options{}, "adaptive concurrency, 1 to 1000, queue 1024"},
		{adaptive.Options{Min: 5, Max: 50, MaxQueue: 10, MaxWait: time.Second}, "adaptive concurrency, 5 to 50, queue 10, waits 1s at most"},
		{adaptive.Options{MaxQueue: adaptive.NoQueue}, "adaptive concurrency, 1 to 1000, no queue"},
	} {
		svc := adaptive.Layer[int, int](tt.o)(returning(0, nil))
		require.Equal(t, tt.want+"\nfunc", turret.Describe(svc))
	}
}

func TestShareOfNilPanics(t *testing.T) {
	require.PanicsWithValue(t, "adaptive: Share of a Limit that is nil or zero; make one with adaptive.New", func() { adaptive.Share[int, int](nil) })
}

func TestSuccessAllocatesNothing(t *testing.T) {
	svc := adaptive.Layer[int, int](adaptive.Options{Window: time.Nanosecond})(returning(0, nil))
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = svc.Call(ctx, 1) }))
}

// For the race detector: everything at once, with windows that end all the time.
func TestConcurrentUse(t *testing.T) {
	var l *adaptive.Limit
	l = adaptive.New(adaptive.Options{
		Max: 16, Window: time.Microsecond, MaxQueue: 16, MaxWait: time.Millisecond,
		OnChange: func(adaptive.Change) { _ = l.Limit() + l.InFlight() + l.Waiting() },
	})
	svc := share(l, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		assert.LessOrEqual(t, l.InFlight(), 16)
		runtime.Gosched()
		return n, []error{nil, nil, nil, nil, errPermanent, errUnknown, errThrottled}[n%7]
	}))
	var all sync.WaitGroup
	for g := range 64 {
		all.Go(func() {
			for i := range 300 {
				ctx, cancel := context.WithCancel(context.Background())
				if i%5 == 0 {
					go cancel()
				}
				_, err := svc.Call(ctx, g+i)
				cancel()
				if err != nil && !errors.Is(err, adaptive.ErrLimited) && !errors.Is(err, context.Canceled) {
					assert.Contains(t, []error{errPermanent, errUnknown, errThrottled}, err)
				}
				_ = turret.Ready(svc)
			}
		})
	}
	all.Wait()
	require.Zero(t, l.InFlight())
	require.Zero(t, l.Waiting())
}
