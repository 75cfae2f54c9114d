package failover_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/timeout"
)

// place is a replica that says err after some time, or answers with its name.
type place struct {
	name string

	mu    sync.Mutex
	err   error
	takes time.Duration
	calls int
}

func (p *place) Call(ctx context.Context, _ int) (string, error) {
	p.mu.Lock()
	p.calls++
	takes, err := p.takes, p.err
	p.mu.Unlock()
	if takes == 0 { // a timer of no time, in several goroutines of a bubble, crashes the race detector of Go 1.26
		return p.name, err
	}
	select {
	case <-time.After(takes):
		return p.name, err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (p *place) is(err error, takes time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.takes = err, takes
}

func (p *place) hangs() { p.is(nil, time.Hour) }

func (p *place) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// watched is a failover from east to west that watches them; an attempt has a
// second.
func watched(t *testing.T, o failover.Options) (s turret.Service[int, string], east, west *place) {
	east, west = &place{name: "east", takes: 10 * time.Millisecond}, &place{name: "west", takes: 20 * time.Millisecond}
	o.Names = []string{"east", "west"}
	attempt := timeout.Layer[int, string](time.Second)
	s = failover.New(o, attempt(east), attempt(west))
	t.Cleanup(func() { require.NoError(t, turret.Close(s)) })
	return s, east, west
}

// call returns who answered, and after how long.
func call(t *testing.T, s turret.Service[int, string]) (string, time.Duration) {
	t.Helper()
	start := time.Now()
	who, err := s.Call(t.Context(), 1)
	require.NoError(t, err)
	return who, time.Since(start)
}

func TestHungHomeCostsTheFirstCallsATimeoutAndNothingAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, _ := watched(t, failover.Options{Failures: 3})
		east.hangs()
		for range 3 {
			who, took := call(t, s)
			require.Equal(t, "west", who)
			require.Equal(t, 1020*time.Millisecond, took)
		}
		for range 10_000 { // for 200 s, with 100 probes that hang
			who, took := call(t, s)
			require.Equal(t, "west", who)
			require.Equal(t, 20*time.Millisecond, took)
		}
		require.InDelta(t, 103, east.asked(), 5, "it is probed, one probe at a time")
	})
}

func TestAwayHomeIsUsedAgainWhenItIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []failover.Change
		s, east, _ := watched(t, failover.Options{Failures: 2, OnChange: func(c failover.Change) { changes = append(changes, c) }})
		down := of(turret.Transient)
		east.is(down, 0)
		for range 500 {
			who, _ := call(t, s)
			require.Equal(t, "west", who)
		}
		east.is(nil, 10*time.Millisecond)
		back := 0
		for who := ""; who != "east"; back++ {
			who, _ = call(t, s)
		}
		require.LessOrEqual(t, back, 60, "within a probe interval, and one call more")
		synctest.Wait()
		require.Equal(t, []failover.Change{{"east", true, down}, {"east", false, nil}}, changes)
	})
}

func TestProbesKeepTheirInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, _ := watched(t, failover.Options{Failures: 1, ProbeInterval: 5 * time.Second})
		east.is(of(turret.Throttled), 0)
		for range 50 * 60 { // a minute
			call(t, s)
		}
		require.InDelta(t, 1+12, east.asked(), 1)
	})
}

// asking is a replica that fails, and looks around when it is asked if it is ready.
type asking struct {
	calls int
	ready func()
}

func (a *asking) Ready() error { a.ready(); return nil }

func (a *asking) Call(context.Context, int) (string, error) {
	a.calls++
	return "", of(turret.Transient)
}

func TestOneProbeAnIntervalHoweverManyCallsMeetAtIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east := &asking{ready: func() {}}
		s := failover.New(failover.Options{Failures: 1}, turret.Service[int, string](east), &place{name: "west"})
		defer turret.Close(s)
		call(t, s)
		<-time.After(time.Second)
		east.ready = func() {
			east.ready = func() {}
			call(t, s) // has its probe, from begin to end, while another call is about to
			synctest.Wait()
		}
		call(t, s)
		synctest.Wait()
		require.Equal(t, 1+1, east.calls)
	})
}

func TestFailuresThatAreNotInARowDoNotSendCallsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, _ := watched(t, failover.Options{Failures: 2})
		for range 10 {
			east.is(of(turret.Transient), 0)
			who, _ := call(t, s)
			require.Equal(t, "west", who)
			east.is(nil, 0)
			who, _ = call(t, s)
			require.Equal(t, "east", who)
		}
	})
}

func TestRefusalsAndCancellationsSendNobodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, _ := watched(t, failover.Options{Failures: 1})
		east.is(of(turret.Rejected), 0)
		call(t, s)
		east.hangs()
		ctx, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(time.Millisecond, cancel).Stop()
		_, err := s.Call(ctx, 1)
		require.ErrorIs(t, err, context.Canceled)
		east.is(nil, 0)
		who, _ := call(t, s)
		require.Equal(t, "east", who)
		east.is(of(turret.Permanent), 0)
		_, err = s.Call(t.Context(), 1)
		require.Equal(t, of(turret.Permanent), err)
		east.is(nil, 0)
		who, _ = call(t, s)
		require.Equal(t, "east", who)
	})
}

func TestHomeThatOutlastsItsCallersDeadlinesIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, _ := watched(t, failover.Options{Failures: 3})
		east.hangs()
		lost := 0
		for range 1000 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // an attempt has a second
			if _, err := s.Call(ctx, 1); err != nil {
				lost++
			}
			cancel()
		}
		require.Equal(t, 3, lost)
	})
}

func TestHomeThatHedgesAlwaysOutrunIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, _ := watched(t, failover.Options{Failures: 3})
		hedged := hedge.Layer[int, string](hedge.Options{Delay: 100 * time.Millisecond, Budget: hedge.NewBudget(1)})(s)
		east.hangs()
		late := 0
		for range 1000 {
			if _, took := call(t, hedged); took > 50*time.Millisecond {
				late++
			}
		}
		require.LessOrEqual(t, late, 4, "the third one's loser may end when the fourth has begun")
	})
}

func TestCallersWhoseDeadlineIsOverBeforeSendNobodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := watched(t, failover.Options{Failures: 3, OnChange: func(c failover.Change) { t.Error(c) }})
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		for range 10 {
			_, err := s.Call(ctx, 1)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	})
}

func TestHedgesThatTheirOriginalsOutrunSendNobodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, west := watched(t, failover.Options{Failures: 3, OnChange: func(c failover.Change) { t.Error(c) }})
		hedged := hedge.Layer[int, string](hedge.Options{Delay: 100 * time.Millisecond, Budget: hedge.NewBudget(1)})(s)
		east.is(nil, 150*time.Millisecond)
		west.is(nil, 150*time.Millisecond)
		for range 10 {
			who, _ := call(t, hedged)
			require.Equal(t, "east", who)
			synctest.Wait()
		}
		require.Equal(t, 10, west.asked())
	})
}

func TestReplicaThatSaysNoToItsProbesStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, _ := watched(t, failover.Options{Failures: 3})
		east.is(of(turret.Transient), 0)
		for range 100 {
			call(t, s)
		}
		east.is(of(turret.Permanent), 0) // it comes back with the key disabled, say
		for range 1000 {
			who, _ := call(t, s)
			require.Equal(t, "west", who)
		}
		east.is(nil, 0)
		for range 100 {
			call(t, s)
		}
		who, _ := call(t, s)
		require.Equal(t, "east", who)
	})
}

func TestAwayReplicaIsTheLastResort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, west := watched(t, failover.Options{Failures: 1, ProbeInterval: time.Hour})
		east.is(of(turret.Transient), 0)
		call(t, s)
		east.is(nil, 0)
		west.is(of(turret.Transient), 0)
		who, _ := call(t, s)
		require.Equal(t, "east", who, "when all others fail")
		who, _ = call(t, s)
		require.Equal(t, "east", who, "its success brings it back")
	})
}

func TestWhenAllAreAwayEachIsAskedOnceACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, west := watched(t, failover.Options{Failures: 1, ProbeInterval: time.Hour})
		east.is(of(turret.Transient), time.Millisecond)
		west.is(of(turret.Throttled), time.Millisecond)
		for n := range 3 {
			_, err := s.Call(t.Context(), 1)
			require.EqualError(t, err, "failover: 2 replicas failed: east: transient; west: throttled")
			require.Equal(t, []int{n + 1, n + 1}, []int{east.asked(), west.asked()})
		}
	})
}

func TestCallsFromBeforeItWentAwayAreOldNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes atomic.Int64
		s, east, _ := watched(t, failover.Options{Failures: 3, ProbeInterval: 5 * time.Millisecond, OnChange: func(failover.Change) { changes.Add(1) }})
		east.hangs()
		var calls sync.WaitGroup
		for range 50 {
			calls.Go(func() { _, _ = s.Call(t.Context(), 1) })
			<-time.After(19 * time.Millisecond)
		}
		east.is(nil, 0)
		<-time.After(95 * time.Millisecond)
		require.EqualValues(t, 1, changes.Load(), "the first three have failed")
		call(t, s) // begins the probe
		synctest.Wait()
		require.EqualValues(t, 2, changes.Load())
		calls.Wait()
		who, _ := call(t, s)
		require.Equal(t, "east", who)
		require.EqualValues(t, 2, changes.Load(), "47 more that failed have not sent it away again")
	})
}

func TestReplicaThatIsNotReadyIsNotProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east, west := &place{name: "east"}, &place{name: "west", takes: 20 * time.Millisecond}
		trips := breaker.Layer[int, string](gobreaker.Settings{
			Timeout:     time.Minute,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 2 },
		})
		s := failover.New(failover.Options{Failures: 2}, trips(east), west)
		defer turret.Close(s)
		east.is(of(turret.Transient), 0)
		for range 50 * 59 {
			call(t, s)
		}
		require.Equal(t, 2, east.asked())
	})
}

// shut is a place that would refuse a call, and would count it all the same.
type shut struct{ *place }

func (shut) Ready() error { return of(turret.Rejected) }

func TestNoProbeReachesAReplicaThatIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east, west := &place{name: "east", err: of(turret.Transient)}, &place{name: "west", takes: 20 * time.Millisecond}
		s := failover.New[int, string](failover.Options{Failures: 1}, shut{east}, west)
		defer turret.Close(s)
		for range 50 * 59 {
			call(t, s)
		}
		require.Equal(t, 1, east.asked())
	})
}

func TestCloseEndsAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, _ := watched(t, failover.Options{Failures: 1})
		east.is(of(turret.Unknown), 0)
		call(t, s)
		east.hangs()
		<-time.After(time.Second)
		call(t, s)
		start := time.Now()
		require.NoError(t, turret.Close(s))
		require.Zero(t, time.Since(start))
		<-time.After(time.Minute)
		asked := east.asked()
		who, _ := call(t, s)
		require.Equal(t, "west", who, "calls go on")
		require.Equal(t, asked, east.asked(), "without probes")
	})
}

func TestProbeOutlivesItsCallAndKeepsItsValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var seen any
		well := true
		east := turret.ServiceFunc[int, string](func(ctx context.Context, _ int) (string, error) {
			if well {
				return "", errors.New("ill")
			}
			<-time.After(time.Second)
			seen = ctx.Value(key{})
			return "east", ctx.Err()
		})
		west := &place{name: "west"}
		s := failover.New(failover.Options{Failures: 1}, turret.Service[int, string](east), west)
		defer turret.Close(s)
		call(t, s)
		well = false
		<-time.After(time.Second)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
		_, err := s.Call(ctx, 1)
		require.NoError(t, err)
		cancel()
		<-time.After(2 * time.Second)
		synctest.Wait()
		require.Equal(t, "trace", seen)
		who, _ := call(t, s)
		require.Equal(t, "east", who)
	})
}

func TestProbeThatPanicsEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := false
		east := turret.ServiceFunc[int, string](func(context.Context, int) (string, error) {
			if panics {
				panic("driver")
			}
			return "", errors.New("ill")
		})
		s := failover.New(failover.Options{Failures: 1}, turret.Service[int, string](east), &place{name: "west"})
		defer turret.Close(s)
		call(t, s)
		panics = true
		for range 3 {
			<-time.After(time.Second)
			who, _ := call(t, s)
			require.Equal(t, "west", who)
			synctest.Wait()
		}
	})
}

func TestProbeThatHangsWithoutATimeoutIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east := &place{name: "east", err: errors.New("ill")}
		s := failover.New(failover.Options{Failures: 1}, turret.Service[int, string](east), &place{name: "west"})
		defer turret.Close(s)
		call(t, s)
		east.hangs()
		<-time.After(time.Second)
		call(t, s)
		<-time.After(29 * time.Second)
		call(t, s)
		require.Equal(t, 2, east.asked())
		<-time.After(2 * time.Second)
		call(t, s)
		synctest.Wait()
		require.Equal(t, 3, east.asked())
	})
}

func TestManyCallersOfAnAilingHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, east, _ := watched(t, failover.Options{Failures: 3, ProbeInterval: 50 * time.Millisecond})
		var calls sync.WaitGroup
		for i := range 64 {
			calls.Go(func() {
				for n := range 50 {
					if i == 0 {
						east.is([]error{nil, of(turret.Transient)}[n%2], 0)
					}
					_, err := s.Call(t.Context(), n)
					require.NoError(t, err)
				}
			})
		}
		calls.Wait()
	})
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	require.EqualError(t, failover.Options{Failures: -2}.Validate(), "failover: Failures is -2; it must be at least 1, or Never")
	require.EqualError(t, failover.Options{ProbeInterval: -1}.Validate(), "failover: ProbeInterval is -1ns; it must be above zero, or 0 for the default of 1s")
	require.NoError(t, failover.Options{Failures: failover.Never}.Validate())
}
