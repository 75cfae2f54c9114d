package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/fallback"
	"github.com/turretgo/turret/middleware/timeout"
)

type (
	service = turret.Service[int, string]
	options = fallback.Options[int, string]
)

// backend says err, or answers with its name. It counts, and can be closed.
type backend struct {
	name           string
	err, notReady  error
	calls, request int
	closed         int
}

func (b *backend) Call(_ context.Context, n int) (string, error) {
	b.calls++
	b.request = n
	return b.name, b.err
}

func (b *backend) Ready() error   { return b.notReady }
func (b *backend) String() string { return b.name }
func (b *backend) Close() error   { b.closed++; return nil }

// said is an error of a class, with a RetryAfter where after is above zero.
type said struct {
	class turret.Class
	after time.Duration
}

func (e said) Error() string                     { return e.class.String() }
func (e said) Class() turret.Class               { return e.class }
func (e said) RetryAfter() (time.Duration, bool) { return e.after, e.after > 0 }

func of(c turret.Class) error { return said{class: c} }

func wrap(o options, inner service) service {
	return turret.With(turret.NewBuilder[int, string](), fallback.Layer, o).Service(inner)
}

func TestSuccessDoesNotReachTheFallback(t *testing.T) {
	second := &backend{name: "second"}
	resp, err := wrap(options{Service: second}, &backend{name: "first"}).Call(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "first", resp)
	require.Zero(t, second.calls)
}

func TestSecondServiceAnswersForTransientUnknownThrottledAndRejected(t *testing.T) {
	for _, c := range []turret.Class{turret.Transient, turret.Unknown, turret.Throttled, turret.Rejected} {
		second := &backend{name: "second"}
		resp, err := wrap(options{Service: second}, &backend{err: of(c)}).Call(t.Context(), 7)
		require.NoError(t, err, c)
		require.Equal(t, "second", resp)
		require.Equal(t, 7, second.request, "it gets the request")
	}
}

func TestPermanentIsAnAnswerAndComesBackUnchanged(t *testing.T) {
	second := &backend{}
	_, err := wrap(options{Service: second}, &backend{err: of(turret.Permanent)}).Call(t.Context(), 1)
	require.Equal(t, of(turret.Permanent), err)
	require.Zero(t, second.calls)
}

func TestWhenChoosesTheErrors(t *testing.T) {
	missing := turret.WithClass(errors.New("missing"), turret.Permanent)
	second := &backend{name: "second"}
	o := options{Service: second, When: func(err error, class turret.Class) bool {
		return class == turret.Permanent && errors.Is(err, missing)
	}}
	resp, err := wrap(o, &backend{err: missing}).Call(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "second", resp)

	_, err = wrap(o, &backend{err: of(turret.Transient)}).Call(t.Context(), 1)
	require.Equal(t, of(turret.Transient), err, "and no others")
	require.Equal(t, 1, second.calls)
}

func TestNeverWhenTheCallerHasGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, end := range []error{ctx.Err(), of(turret.Transient), errors.New("who knows")} {
		second := &backend{}
		o := options{Service: second, When: func(error, turret.Class) bool { return true }}
		_, err := wrap(o, &backend{err: end}).Call(ctx, 1)
		require.Equal(t, end, err)
		require.Zero(t, second.calls)
	}
}

func TestCancellationWhileTheCallerWaitsIsTransient(t *testing.T) {
	var heard turret.Class
	o := options{Service: fallback.Value[int]("old"), OnFallback: func(_ context.Context, e fallback.Event) { heard = e.Class }}
	resp, err := wrap(o, &backend{err: context.Canceled}).Call(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "old", resp)
	require.Equal(t, turret.Transient, heard)
}

func TestValueAnswersInPlaceOfATimeoutBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := turret.ServiceFunc[int, string](func(ctx context.Context, _ int) (string, error) { <-ctx.Done(); return "", ctx.Err() })
		resp, err := wrap(options{Service: fallback.Value[int]("old")}, timeout.Layer[int, string](time.Second)(hang)).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "old", resp)
	})
}

func TestBothFailedNamesBoth(t *testing.T) {
	reset, empty := errors.New("connection reset"), errors.New("cache is empty")
	_, err := wrap(options{Service: &backend{err: empty}}, &backend{err: reset}).Call(t.Context(), 1)
	require.EqualError(t, err, "fallback: connection reset; and the fallback failed too: cache is empty")
	require.ErrorIs(t, err, fallback.ErrFailed)
	require.ErrorIs(t, err, reset)
	require.ErrorIs(t, err, empty)
	var e *fallback.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, reset, e.Err)
	require.Equal(t, empty, e.Fallback)
}

func TestErrorsClassIsTheMoreHopeful(t *testing.T) {
	always := func(error, turret.Class) bool { return true }
	for _, tc := range []struct{ first, second, want turret.Class }{
		{turret.Transient, turret.Permanent, turret.Transient},
		{turret.Permanent, turret.Transient, turret.Transient},
		{turret.Unknown, turret.Transient, turret.Transient},
		{turret.Throttled, turret.Unknown, turret.Unknown},
		{turret.Rejected, turret.Throttled, turret.Throttled},
		{turret.Rejected, turret.Permanent, turret.Rejected},
		{turret.Permanent, turret.Permanent, turret.Permanent},
	} {
		_, err := wrap(options{Service: &backend{err: of(tc.second)}, When: always}, &backend{err: of(tc.first)}).Call(t.Context(), 1)
		require.Equal(t, tc.want, turret.Outcome(t.Context(), err), "%v, %v", tc.first, tc.second)
	}
}

func TestErrorsRetryAfterIsTheSooner(t *testing.T) {
	always := func(error, turret.Class) bool { return true }
	for _, tc := range []struct {
		first, second error
		want          time.Duration
		ok            bool
	}{
		{said{turret.Rejected, 3}, said{turret.Throttled, 2}, 2, true},
		{said{turret.Rejected, 2}, said{turret.Throttled, 3}, 2, true},
		{said{turret.Rejected, 3}, of(turret.Transient), 0, true},
		{of(turret.Transient), said{turret.Rejected, 3}, 0, true},
		{said{turret.Rejected, 3}, of(turret.Permanent), 3, true},
		{of(turret.Permanent), of(turret.Permanent), 0, false},
	} {
		_, err := wrap(options{Service: &backend{err: tc.second}, When: always}, &backend{err: tc.first}).Call(t.Context(), 1)
		after, ok := turret.RetryAfter(err)
		require.Equal(t, tc.want, after)
		require.Equal(t, tc.ok, ok)
	}
}

func TestCallerGoneDuringTheFallbackIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		second := turret.ServiceFunc[int, string](func(ctx context.Context, _ int) (string, error) { <-ctx.Done(); return "", ctx.Err() })
		_, err := wrap(options{Service: second}, &backend{err: of(turret.Transient)}).Call(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
	})
}

func TestOnFallbackHearsBeforeTheFallbackIsCalled(t *testing.T) {
	var events []fallback.Event
	second := &backend{}
	o := options{Service: second, OnFallback: func(_ context.Context, e fallback.Event) {
		require.Zero(t, second.calls)
		events = append(events, e)
	}}
	_, err := wrap(o, &backend{err: of(turret.Transient)}).Call(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []fallback.Event{{of(turret.Transient), turret.Transient}}, events)

	_, _ = wrap(o, &backend{}).Call(t.Context(), 1)
	_, _ = wrap(o, &backend{err: of(turret.Permanent)}).Call(t.Context(), 1)
	require.Len(t, events, 1, "and only then")
}

func TestReadyWhenEitherIs(t *testing.T) {
	up, down := &backend{}, &backend{notReady: of(turret.Rejected)}
	require.NoError(t, turret.Ready(wrap(options{Service: up}, down)))
	require.NoError(t, turret.Ready(wrap(options{Service: down}, up)))
	require.Error(t, turret.Ready(wrap(options{Service: down}, down)))
}

func TestNotReadyWhenARefusalIsNotFallenBackFor(t *testing.T) {
	onlyTransient := func(_ error, class turret.Class) bool { return class == turret.Transient }
	s := wrap(options{Service: &backend{}, When: onlyTransient}, &backend{notReady: of(turret.Rejected)})
	require.Equal(t, of(turret.Rejected), turret.Ready(s))
}

func TestCloseReachesBoth(t *testing.T) {
	first, second := &backend{}, &backend{}
	require.NoError(t, turret.Close(wrap(options{Service: second}, first)))
	require.Equal(t, 1, first.closed)
	require.Equal(t, 1, second.closed)
}

func TestValidate(t *testing.T) {
	require.NoError(t, options{Service: &backend{}}.Validate())
	err := options{}.Validate()
	require.EqualError(t, err, "fallback: Service is nil; set the one that answers when the other fails, or fallback.Value")
	require.PanicsWithError(t, err.Error(), func() { fallback.Layer(options{}) })
}

func TestDescribe(t *testing.T) {
	s := wrap(options{Service: fallback.Value[int]("secret")}, &backend{name: "first"})
	require.Equal(t, "fallback\n  first\n  value", turret.Describe(s))
}

func TestSuccessAllocatesNothing(t *testing.T) {
	s, ctx := wrap(options{Service: &backend{}}, &backend{}), t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Call(ctx, 1) }))
}

func ExampleLayer() {
	type ID int
	b := turret.NewBuilder[ID, []string]()
	b = turret.With(b, fallback.Layer, fallback.Options[ID, []string]{
		Service: fallback.Value[ID]([]string{"Walden"}),
		OnFallback: func(_ context.Context, e fallback.Event) {
			fmt.Printf("fell back: %v (%v)\n", e.Err, e.Class)
		},
	})
	recommend := b.ServiceFunc(func(_ context.Context, reader ID) ([]string, error) {
		if reader == 2 {
			return nil, errors.New("connection refused")
		}
		return []string{"Middlemarch", "Emma"}, nil
	})

	fmt.Println(recommend.Call(context.Background(), 1))
	fmt.Println(recommend.Call(context.Background(), 2))
	// Output:
	// [Middlemarch Emma] <nil>
	// fell back: connection refused (unknown)
	// [Walden] <nil>
}

func BenchmarkLayer(b *testing.B) {
	s, ctx := wrap(options{Service: &backend{}}, &backend{}), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Call(ctx, 1); err != nil {
			b.Fatal(err)
		}
	}
}
