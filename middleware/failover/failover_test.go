package failover_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// replica says err, or answers with its name.
type replica struct {
	name  string
	err   error
	calls int
}

func (r *replica) Call(context.Context, int) (string, error) {
	r.calls++
	return r.name, r.err
}

type later struct {
	class turret.Class
	after time.Duration
}

func (l later) Error() string                     { return l.class.String() }
func (l later) Class() turret.Class               { return l.class }
func (l later) RetryAfter() (time.Duration, bool) { return l.after, l.after > 0 }

func of(c turret.Class) error { return later{class: c} }

func two(a, b *replica) turret.Service[int, string] {
	return failover.New[int, string](failover.Options{Names: []string{"east", "west"}}, a, b)
}

func TestNextReplicaOnTransientThrottledRejectedOrUnknown(t *testing.T) {
	for _, c := range []turret.Class{turret.Transient, turret.Throttled, turret.Rejected, turret.Unknown} {
		east, west := &replica{"east", of(c), 0}, &replica{"west", nil, 0}
		got, err := two(east, west).Call(t.Context(), 1)
		require.NoError(t, err, c)
		require.Equal(t, "west", got)
		require.Equal(t, 1, east.calls)
	}
}

func TestNeverNextOnPermanent(t *testing.T) {
	denied := of(turret.Permanent)
	east, west := &replica{"east", denied, 0}, &replica{"west", nil, 0}
	_, err := two(east, west).Call(t.Context(), 1)
	require.Equal(t, denied, err)
	require.Zero(t, west.calls)
}

func TestNeverNextOnCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, end := range []error{ctx.Err(), of(turret.Transient)} {
		east, west := &replica{"east", end, 0}, &replica{"west", nil, 0}
		_, err := two(east, west).Call(ctx, 1)
		require.Equal(t, end, err)
		require.Zero(t, west.calls)
	}
}

func TestReturnsHomeWhenHomeIsWell(t *testing.T) {
	east, west := &replica{"east", of(turret.Transient), 0}, &replica{"west", nil, 0}
	s := two(east, west)
	got, _ := s.Call(t.Context(), 1)
	require.Equal(t, "west", got)
	east.err = nil
	got, _ = s.Call(t.Context(), 1)
	require.Equal(t, "east", got)
}

func TestHungHomeCostsItsAttemptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := turret.ServiceFunc[int, string](func(ctx context.Context, _ int) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		start := time.Now()
		s := failover.New(failover.Options{}, timeout.Layer[int, string](time.Second)(hang), &replica{name: "west"})
		got, err := s.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "west", got)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestAllFailedNamesEachReplicaAndWhatItSaid(t *testing.T) {
	reset, busy := errors.New("connection reset"), later{turret.Throttled, time.Second}
	_, err := two(&replica{"", reset, 0}, &replica{"", busy, 0}).Call(t.Context(), 1)
	require.EqualError(t, err, "failover: 2 replicas failed: east: connection reset; west: throttled")
	require.ErrorIs(t, err, failover.ErrFailed)
	require.ErrorIs(t, err, reset)
	require.ErrorIs(t, err, busy)
	require.Equal(t, turret.Unknown, turret.Classify(err))
}

func TestErrorsClassIsTheMostHopeful(t *testing.T) {
	for _, tc := range []struct{ east, west, want turret.Class }{
		{turret.Throttled, turret.Transient, turret.Transient},
		{turret.Rejected, turret.Unknown, turret.Unknown},
		{turret.Rejected, turret.Throttled, turret.Throttled},
		{turret.Rejected, turret.Rejected, turret.Rejected},
		{turret.Transient, turret.Permanent, turret.Transient},
	} {
		_, err := two(&replica{"", of(tc.east), 0}, &replica{"", of(tc.west), 0}).Call(t.Context(), 1)
		require.Equal(t, tc.want, turret.Outcome(t.Context(), err), "%v, %v", tc.east, tc.west)
	}
}

func TestErrorsRetryAfterIsTheSoonest(t *testing.T) {
	for _, tc := range []struct {
		east, west error
		want       time.Duration
		ok         bool
	}{
		{later{turret.Rejected, 3}, later{turret.Rejected, 2}, 2, true},
		{later{turret.Rejected, 3}, of(turret.Transient), 0, true},
		{of(turret.Rejected), of(turret.Transient), 0, false},
		{later{turret.Rejected, 3}, of(turret.Permanent), 3, true},
	} {
		_, err := two(&replica{"", tc.east, 0}, &replica{"", tc.west, 0}).Call(t.Context(), 1)
		after, ok := turret.RetryAfter(err)
		require.Equal(t, tc.want, after)
		require.Equal(t, tc.ok, ok)
	}
}

func TestCallerGoneAtTheSecondReplicaIsCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	west := turret.ServiceFunc[int, string](func(ctx context.Context, _ int) (string, error) { cancel(); return "", ctx.Err() })
	_, err := failover.New(failover.Options{}, &replica{err: of(turret.Transient)}, west).Call(ctx, 1)
	require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
}

func TestOnFailoverHears(t *testing.T) {
	var events []failover.Event
	o := failover.Options{OnFailover: func(_ context.Context, e failover.Event) { events = append(events, e) }}
	boom := of(turret.Transient)
	_, err := failover.New(o, &replica{err: boom}, &replica{}).Call(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []failover.Event{{"replica 1", "replica 2", boom, turret.Transient}}, events)
}

func TestOneReplicaIsItself(t *testing.T) {
	one := &replica{}
	require.Same(t, one, failover.New[int, string](failover.Options{}, one))
}

func TestNewNeedsReplicas(t *testing.T) {
	require.Panics(t, func() { failover.New[int, string](failover.Options{}) })
	require.Panics(t, func() { failover.New[int, string](failover.Options{}, &replica{}, nil) })
	require.NoError(t, failover.Options{Names: []string{"", "", "a"}}.Validate())
	err := failover.Options{Names: []string{"a", "b", "a"}}.Validate()
	require.EqualError(t, err, `failover: two of the Names are "a"; they must differ`)
	require.PanicsWithError(t, err.Error(), func() { failover.New[int, string](failover.Options{Names: []string{"a", "a"}}, &replica{}) })
}

func TestANameThatAnotherReplicaHasByItsPlacePanics(t *testing.T) {
	require.PanicsWithValue(t, `failover: New was given two replicas named "replica 2"; Options.Names must differ`, func() {
		failover.New[int, string](failover.Options{Names: []string{"replica 2"}}, &replica{}, &replica{})
	})
}

func TestReadyWhenAnyReplicaIsAndDescribe(t *testing.T) {
	s := two(&replica{}, &replica{})
	require.NoError(t, turret.Ready(s))
	require.Equal(t, "failover east, west\n  *failover_test.replica\n  *failover_test.replica", turret.Describe(s))
}

func TestAHedgeAboveNeverSendsTwoCallsToOneReplica(t *testing.T) {
	hang := turret.ServiceFunc[int, string](func(ctx context.Context, _ int) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	above := hedge.Layer[int, string](hedge.Options{Delay: time.Second, MaxHedges: 3, Budget: hedge.NewBudget(3)})
	synctest.Test(t, func(t *testing.T) {
		west := &replica{name: "west"}
		got, err := above(failover.New(failover.Options{}, hang, west)).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "west", got)
	})
	synctest.Test(t, func(t *testing.T) { // the third has nowhere to go
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		east, west := &replica{err: of(turret.Transient)}, &replica{err: of(turret.Throttled)}
		slow := timeout.Layer[int, string](5 * time.Second)(hang)
		_, err := above(failover.New(failover.Options{}, slow, east, west)).Call(ctx, 1)
		require.NotErrorIs(t, err, turret.ErrTaken, "it is left out of the account")
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, []int{1, 1}, []int{east.calls, west.calls})
		require.Equal(t, turret.Transient, turret.Outcome(ctx, err))
	})
}

func TestSuccessAllocatesNothing(t *testing.T) {
	for _, o := range []failover.Options{{}, {Failures: 3}} {
		s := failover.New[int, string](o, &replica{}, &replica{})
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Call(t.Context(), 1) }))
	}
}

func Example() {
	home := turret.ServiceFunc[string, string](func(context.Context, string) (string, error) {
		return "", errors.New("connection refused")
	})
	away := turret.ServiceFunc[string, string](func(context.Context, string) (string, error) {
		return "hello from afar", nil
	})
	svc := failover.New(failover.Options{
		Names: []string{"eu-west-1", "us-east-1"},
		OnFailover: func(_ context.Context, e failover.Event) {
			fmt.Printf("%s → %s: %v\n", e.From, e.To, e.Err)
		},
	}, home, away)
	fmt.Println(svc.Call(context.Background(), ""))
	// Output:
	// eu-west-1 → us-east-1: connection refused
	// hello from afar <nil>
}

func BenchmarkService(b *testing.B) {
	for name, o := range map[string]failover.Options{"never": {}, "watching": {Failures: 3}} {
		b.Run(name, func(b *testing.B) {
			s := failover.New[int, string](o, &replica{}, &replica{})
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Call(b.Context(), 1)
			}
		})
	}
}
