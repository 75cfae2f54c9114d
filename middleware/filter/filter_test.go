package filter_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/filter"
	"github.com/turretgo/turret/middleware/retry"
)

// echo answers with the request, and counts.
type echo struct{ calls int }

func (e *echo) Call(_ context.Context, req string) (string, error) {
	e.calls++
	return req, nil
}

func (e *echo) String() string { return "echo" }

type check = func(context.Context, string) (string, error)

func wrap(c check, inner turret.Service[string, string]) turret.Service[string, string] {
	return turret.With(turret.NewBuilder[string, string](), filter.Layer, c).Service(inner)
}

// refuse is a predicate that refuses every request with err.
func refuse(err error) check {
	return func(context.Context, string) (string, error) { return "rewritten", err }
}

func pass(_ context.Context, req string) (string, error) { return req, nil }

func TestPredicatePassesARequestOn(t *testing.T) {
	inner := &echo{}
	resp, err := wrap(pass, inner).Call(t.Context(), "hello")
	require.NoError(t, err)
	require.Equal(t, "hello", resp)
	require.Equal(t, 1, inner.calls)
}

func TestPredicateRewritesARequest(t *testing.T) {
	upper := func(_ context.Context, req string) (string, error) { return strings.ToUpper(req), nil }
	resp, err := wrap(upper, &echo{}).Call(t.Context(), "hello")
	require.NoError(t, err)
	require.Equal(t, "HELLO", resp)
}

func TestPredicateRefusesARequestAndTheServiceIsNotCalled(t *testing.T) {
	inner := &echo{}
	resp, err := wrap(refuse(fs.ErrPermission), inner).Call(t.Context(), "hello")
	require.Empty(t, resp)
	require.Zero(t, inner.calls)
	require.ErrorIs(t, err, filter.ErrRefused)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.EqualError(t, err, "filter: request refused: permission denied")

	var refusal *filter.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, fs.ErrPermission, refusal.Err)
}

func TestRefusalIsPermanentUnlessThePredicateSaysOtherwise(t *testing.T) {
	for _, tc := range []struct{ said, want turret.Class }{
		{turret.Unknown, turret.Permanent},
		{turret.Permanent, turret.Permanent},
		{turret.Transient, turret.Transient},
		{turret.Throttled, turret.Throttled},
		{turret.Rejected, turret.Rejected},
	} {
		_, err := wrap(refuse(turret.WithClass(fs.ErrPermission, tc.said)), &echo{}).Call(t.Context(), "")
		require.Equal(t, tc.want, turret.Outcome(t.Context(), err), "%v", tc.said)
		require.ErrorIs(t, err, filter.ErrRefused)
	}
	_, err := wrap(refuse(fs.ErrPermission), &echo{}).Call(t.Context(), "")
	require.Equal(t, turret.Permanent, turret.Outcome(t.Context(), err), "nobody said")
}

func TestPredicatesOwnTimeoutIsTransient(t *testing.T) {
	for _, end := range []error{context.DeadlineExceeded, context.Canceled} {
		_, err := wrap(refuse(end), &echo{}).Call(t.Context(), "")
		require.ErrorIs(t, err, filter.ErrRefused)
		require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
	}
}

func TestCallerGoneDuringThePredicateIsCanceledAndNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		inner := &echo{}
		_, err := wrap(slow, inner).Call(ctx, "")
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
		require.Zero(t, inner.calls)
	})
}

// busy is a predicate's error that says when to come again.
type busy struct{}

func (busy) Error() string                     { return "busy" }
func (busy) Class() turret.Class               { return turret.Throttled }
func (busy) RetryAfter() (time.Duration, bool) { return time.Minute, true }

func TestRefusalKeepsThePredicatesRetryAfter(t *testing.T) {
	_, err := wrap(refuse(busy{}), &echo{}).Call(t.Context(), "")
	after, ok := turret.RetryAfter(err)
	require.True(t, ok)
	require.Equal(t, time.Minute, after)
}

func TestPredicateGetsTheCallsContext(t *testing.T) {
	type key struct{}
	got := func(ctx context.Context, _ string) (string, error) { return ctx.Value(key{}).(string), nil }
	resp, err := wrap(got, &echo{}).Call(context.WithValue(t.Context(), key{}, "tenant"), "")
	require.NoError(t, err)
	require.Equal(t, "tenant", resp)
}

func TestServiceGetsTheCallsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	inner := turret.ServiceFunc[string, string](func(ctx context.Context, _ string) (string, error) { return "", ctx.Err() })
	_, err := wrap(pass, inner).Call(ctx, "")
	require.Equal(t, context.Canceled, err)
}

func TestErrorsFromBelowPassUnchanged(t *testing.T) {
	boom := errors.New("boom")
	s := wrap(pass, turret.ServiceFunc[string, string](func(context.Context, string) (string, error) { return "partial", boom }))
	resp, err := s.Call(t.Context(), "")
	require.Equal(t, "partial", resp)
	require.Equal(t, boom, err)
}

func TestRefusalIsNotRetried(t *testing.T) {
	judged := 0
	b := turret.With(turret.NewBuilder[string, string](), retry.Layer, retry.Options{})
	b = turret.With(b, filter.Layer, func(context.Context, string) (string, error) { judged++; return "", fs.ErrPermission })
	_, err := b.Service(&echo{}).Call(t.Context(), "")
	require.ErrorIs(t, err, filter.ErrRefused)
	require.Equal(t, 1, judged)
}

func TestLayerNeedsAPredicate(t *testing.T) {
	require.PanicsWithValue(t, "filter: Layer needs a predicate; it was given nil", func() { filter.Layer[string, string](nil) })
}

func TestDescribe(t *testing.T) {
	require.Equal(t, "filter\necho", turret.Describe(wrap(pass, &echo{})))
}

func TestSuccessAllocatesNothing(t *testing.T) {
	s, ctx := wrap(pass, &echo{}), t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Call(ctx, "hello") }))
}

func ExampleLayer() {
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, filter.Layer, func(_ context.Context, name string) (string, error) {
		if name == "" {
			return "", errors.New("a name is needed")
		}
		return strings.TrimSpace(name), nil
	})
	greet := b.ServiceFunc(func(_ context.Context, name string) (string, error) { return "hello " + name, nil })

	fmt.Println(greet.Call(context.Background(), "  Ada "))
	_, err := greet.Call(context.Background(), "")
	fmt.Println(err)
	fmt.Println(errors.Is(err, filter.ErrRefused), turret.Classify(err))
	// Output:
	// hello Ada <nil>
	// filter: request refused: a name is needed
	// true permanent
}

func BenchmarkLayer(b *testing.B) {
	s, ctx := wrap(pass, &echo{}), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Call(ctx, "hello"); err != nil {
			b.Fatal(err)
		}
	}
}
