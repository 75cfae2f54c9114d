package turret_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

func parse(_ context.Context, s string) (int, error)  { return strconv.Atoi(s) }
func format(_ context.Context, n int) (string, error) { return strconv.Itoa(n), nil }

func TestMapRequestConvertsOrFails(t *testing.T) {
	var calls int
	double := turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { calls++; return 2 * n, nil })
	s := turret.MapRequest(double, parse)
	n, err := s.Call(t.Context(), "21")
	require.NoError(t, err)
	require.Equal(t, 42, n)
	_, err = s.Call(t.Context(), "x")
	require.ErrorIs(t, err, strconv.ErrSyntax)
	require.Equal(t, 1, calls, "a request that cannot be converted is not sent")
	require.Equal(t, "map request\nfunc", turret.Describe(s))
}

func TestMapResponseConvertsSuccessesOnly(t *testing.T) {
	boom := errors.New("boom")
	s := turret.MapResponse(turret.ServiceFunc[string, int](func(ctx context.Context, s string) (int, error) {
		if s == "boom" {
			return 0, boom
		}
		return parse(ctx, s)
	}), format)
	out, err := s.Call(t.Context(), "007")
	require.NoError(t, err)
	require.Equal(t, "7", out)
	_, err = s.Call(t.Context(), "boom")
	require.Same(t, boom, err)
}

func TestMapErrorConvertsErrorsAndSwallowsNone(t *testing.T) {
	boom := errors.New("boom")
	failing := turret.ServiceFunc[string, string](func(context.Context, string) (string, error) { return "partial", boom })
	classify := func(err error) error { return turret.WithClass(err, turret.Permanent) }
	resp, err := turret.MapError(failing, classify).Call(t.Context(), "")
	require.ErrorIs(t, err, boom)
	require.Equal(t, turret.Permanent, turret.Classify(err))
	require.Equal(t, "partial", resp)

	_, err = turret.MapError(failing, func(error) error { return nil }).Call(t.Context(), "")
	require.Same(t, boom, err, "an error does not become a success")

	_, err = turret.MapError(echo, func(error) error { panic("called for a success") }).Call(t.Context(), "")
	require.NoError(t, err)
}

func TestAndThenFeedsTheSecondUnlessTheFirstFails(t *testing.T) {
	var seconds int
	second := turret.ServiceFunc[int, string](func(ctx context.Context, n int) (string, error) { seconds++; return format(ctx, n) })
	s := turret.AndThen(turret.ServiceFunc[string, int](parse), second)
	out, err := s.Call(t.Context(), "007")
	require.NoError(t, err)
	require.Equal(t, "7", out)
	_, err = s.Call(t.Context(), "x")
	require.ErrorIs(t, err, strconv.ErrSyntax)
	require.Equal(t, 1, seconds)
	require.Equal(t, "and then\n  func\n  func", turret.Describe(s))
}

func TestAdaptersOfNothingPanicAtConstruction(t *testing.T) {
	svc := turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { return n, nil })
	convert := func(_ context.Context, n int) (int, error) { return n, nil }
	for want, adapt := range map[string]func(){
		"turret: MapRequest needs a service; it was given nil":                    func() { turret.MapRequest[int, int, int](nil, convert) },
		"turret: MapRequest needs a function that converts; it was given nil":     func() { turret.MapRequest[int](svc, nil) },
		"turret: MapResponse needs a service; it was given nil":                   func() { turret.MapResponse[int, int, int](nil, convert) },
		"turret: MapResponse needs a function that converts; it was given nil":    func() { turret.MapResponse[int, int, int](svc, nil) },
		"turret: MapError needs a service; it was given nil":                      func() { turret.MapError[int, int](nil, func(err error) error { return err }) },
		"turret: MapError needs a function that converts; it was given nil":       func() { turret.MapError(svc, nil) },
		"turret: AndThen needs two services; the first that it was given is nil":  func() { turret.AndThen[int, int, int](nil, svc) },
		"turret: AndThen needs two services; the second that it was given is nil": func() { turret.AndThen[int, int, int](svc, nil) },
	} {
		require.PanicsWithValue(t, want, adapt)
	}
}

func TestAdaptersPassCloseThrough(t *testing.T) {
	a, b := &closer{}, &closer{}
	s := turret.MapError(turret.MapRequest(turret.AndThen(svc(a), svc(b)), format), func(err error) error { return err })
	require.NoError(t, turret.Close(s))
	require.Equal(t, []int{1, 1}, []int{a.closed, b.closed})
}

func TestAResponseThatCannotBeConvertedIsAnError(t *testing.T) {
	s := turret.MapResponse(turret.ServiceFunc[int, string](format), func(context.Context, string) (int, error) { return 0, strconv.ErrRange })
	_, err := s.Call(t.Context(), 7)
	require.Same(t, strconv.ErrRange, err)
}

func TestAndThensSecondErrorComesBackUnchanged(t *testing.T) {
	boom := errors.New("boom")
	s := turret.AndThen(turret.ServiceFunc[string, int](parse), turret.ServiceFunc[int, string](func(context.Context, int) (string, error) { return "", boom }))
	_, err := s.Call(t.Context(), "7")
	require.Same(t, boom, err)
}

func TestAdaptersHandOnTheCallsContext(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "mine"))
	cancel()
	var seen []string
	look := func(ctx context.Context, where string) {
		require.Equal(t, "mine", ctx.Value(key{}), where)
		require.ErrorIs(t, ctx.Err(), context.Canceled, where)
		seen = append(seen, where)
	}
	service := func(name string) turret.Service[int, int] {
		return turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) { look(ctx, name); return n, nil })
	}
	convert := func(name string) func(context.Context, int) (int, error) {
		return func(ctx context.Context, n int) (int, error) { look(ctx, name); return n, nil }
	}
	s := turret.AndThen(turret.MapRequest(service("first"), convert("request")), turret.MapResponse(service("second"), convert("response")))
	_, err := turret.MapError(s, func(err error) error { return err }).Call(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"request", "first", "second", "response"}, seen)
}
