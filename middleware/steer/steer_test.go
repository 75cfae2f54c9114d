package steer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/steer"
	"github.com/turretgo/turret/middleware/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	svc     = turret.Service[string, string]
	targets = map[string]svc
)

// target answers with its name after a while.
type target struct {
	name  string
	takes time.Duration
	err   error
	calls int
}

func (s *target) Call(ctx context.Context, req string) (string, error) {
	s.calls++
	if s.takes > 0 {
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return s.name + " " + req, s.err
}

func (s *target) String() string { return "target " + s.name }
func (s *target) Ready() error   { return s.err }

// scheme picks what is in front of the colon.
func scheme(_ context.Context, req string) string {
	before, _, _ := strings.Cut(req, ":")
	return before
}

func TestRoutesByAPicker(t *testing.T) {
	a, b := &target{name: "a"}, &target{name: "b"}
	s := steer.New(scheme, targets{"a": a, "b": b})
	for _, req := range []string{"a:1", "b:2", "a:3"} {
		got, err := s.Call(t.Context(), req)
		require.NoError(t, err)
		require.Equal(t, req[:1]+" "+req, got)
	}
	require.Equal(t, []int{2, 1}, []int{a.calls, b.calls})
}

func TestThePickerSeesTheContext(t *testing.T) {
	type tenant struct{}
	s := steer.New(func(ctx context.Context, _ string) string { return ctx.Value(tenant{}).(string) },
		targets{"a": &target{name: "a"}, "b": &target{name: "b"}})
	got, err := s.Call(context.WithValue(t.Context(), tenant{}, "b"), "x")
	require.NoError(t, err)
	require.Equal(t, "b x", got)
}

func TestASlowTargetDoesNotBlockTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := steer.New(scheme, targets{"slow": &target{name: "slow", takes: time.Hour}, "fast": &target{name: "fast"}})
		ended := make(chan struct{})
		go func() { defer close(ended); _, _ = s.Call(t.Context(), "slow:") }()
		synctest.Wait()
		start := time.Now()
		_, err := s.Call(t.Context(), "fast:")
		require.NoError(t, err)
		require.Zero(t, time.Since(start))
		<-ended
	})
}

func TestAnUnknownTargetIsAPermanentErrorThatNamesThoseThereAre(t *testing.T) {
	a, b := &target{}, &target{}
	s := steer.New(scheme, targets{"b": b, "a": a})
	_, err := s.Call(t.Context(), "c:1")
	require.ErrorIs(t, err, steer.ErrNoTarget)
	require.EqualError(t, err, `steer: no target "c"; there are a, b`)
	require.Equal(t, turret.Permanent, turret.Outcome(t.Context(), err))
	require.Zero(t, a.calls+b.calls)

	e, ok := errors.AsType[*steer.Error](err)
	require.True(t, ok)
	require.Equal(t, &steer.Error{Target: "c", Targets: []string{"a", "b"}}, e)
	e.Targets[0] = "mine"
	_, err = s.Call(t.Context(), "c:1")
	require.EqualError(t, err, `steer: no target "c"; there are a, b`)
}

func TestATargetsErrorComesBackUnchanged(t *testing.T) {
	boom := errors.New("boom")
	_, err := steer.New(scheme, targets{"a": &target{err: boom}}).Call(t.Context(), "a:")
	require.Same(t, boom, err)
}

func TestDescribeListsTheTargetsInOrder(t *testing.T) {
	for range 20 { // maps have none
		s := steer.New(scheme, targets{"c": &target{name: "c"}, "a": &target{name: "a"}, "b": &target{name: "b"}})
		require.Equal(t, "steer a, b, c\n  target a\n  target b\n  target c", turret.Describe(s))
	}
}

func TestReadyWhenAnyTargetIs(t *testing.T) {
	boom := errors.New("boom")
	require.NoError(t, turret.Ready(steer.New(scheme, targets{"a": &target{err: boom}, "b": &target{}})))
	require.ErrorIs(t, turret.Ready(steer.New(scheme, targets{"a": &target{err: boom}, "b": &target{err: boom}})), boom)
}

func TestNewKeepsNoHoldOnItsTargets(t *testing.T) {
	mine := targets{"a": &target{}}
	s := steer.New(scheme, mine)
	delete(mine, "a")
	_, err := s.Call(t.Context(), "a:")
	require.NoError(t, err)
}

func TestNewPanicsOnWhatCannotBe(t *testing.T) {
	require.PanicsWithValue(t, "steer: New needs a function that picks a target; it was given nil",
		func() { steer.New(nil, targets{"a": &target{}}) })
	require.PanicsWithValue(t, "steer: New needs at least one target; it was given none",
		func() { steer.New(scheme, targets{}) })
	require.PanicsWithValue(t, `steer: target "b" is nil; leave it out, and its requests fail with ErrNoTarget`,
		func() { steer.New(scheme, targets{"a": &target{}, "b": nil}) })
}

func TestSuccessAllocatesNothing(t *testing.T) {
	s, ctx := echoes(), t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Call(ctx, 1) }))
}

// Reads and writes go different ways.
func Example() {
	type query struct{ op, text string }
	b := turret.NewBuilder[query, string]()
	replica := turret.With(b, timeout.Layer, time.Second).ServiceFunc(
		func(_ context.Context, q query) (string, error) { return "replica answers " + q.text, nil })
	primary := turret.With(b, timeout.Layer, 5*time.Second).ServiceFunc(
		func(_ context.Context, q query) (string, error) { return "primary does " + q.text, nil })

	db := steer.New(func(_ context.Context, q query) string { return q.op },
		map[string]turret.Service[query, string]{"read": replica, "write": primary})

	fmt.Println(db.Call(context.Background(), query{"read", "SELECT"}))
	fmt.Println(db.Call(context.Background(), query{"write", "INSERT"}))
	_, err := db.Call(context.Background(), query{"drop", "DROP"})
	fmt.Println(err)
	fmt.Println(turret.Describe(db))
	// Output:
	// replica answers SELECT <nil>
	// primary does INSERT <nil>
	// steer: no target "drop"; there are read, write
	// steer read, write
	//   timeout 1s
	//   func
	//   timeout 5s
	//   func
}

func echoes() turret.Service[int, int] {
	echo := turret.ServiceFunc[int, int](func(_ context.Context, req int) (int, error) { return req, nil })
	return steer.New(func(_ context.Context, req int) string { return [...]string{"even", "odd"}[req&1] },
		map[string]turret.Service[int, int]{"even": echo, "odd": echo})
}

func BenchmarkLayer(b *testing.B) {
	s, ctx := echoes(), context.Background()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = s.Call(ctx, i)
	}
}

// BenchmarkHandwritten is the switch that one would write.
func BenchmarkHandwritten(b *testing.B) {
	var even, odd turret.Service[int, int] = turret.ServiceFunc[int, int](func(_ context.Context, req int) (int, error) { return req, nil }), turret.ServiceFunc[int, int](func(_ context.Context, req int) (int, error) { return req, nil })
	ctx := context.Background()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		switch i & 1 {
		case 0:
			_, _ = even.Call(ctx, i)
		default:
			_, _ = odd.Call(ctx, i)
		}
	}
}
