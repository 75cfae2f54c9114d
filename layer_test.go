package turret_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

type (
	svc   = turret.Service[string, string]
	layer = turret.Layer[string, string]
)

var echo = turret.ServiceFunc[string, string](func(_ context.Context, req string) (string, error) { return req, nil })

// tag marks requests on their way in and responses on their way out.
func tag(name string) layer {
	return turret.LayerFunc(name, func(ctx context.Context, req string, next svc) (string, error) {
		resp, err := next.Call(ctx, req+">"+name)
		return resp + "<" + name, err
	})
}

func call(t *testing.T, s svc) string {
	t.Helper()
	resp, err := s.Call(t.Context(), "")
	require.NoError(t, err)
	return resp
}

func TestStackFirstIsOutermostAndNilIsSkipped(t *testing.T) {
	s := turret.Stack(tag("a"), nil, tag("b"))(echo)
	require.Equal(t, ">a>b<b<a", call(t, s))
	require.Equal(t, "a\nb\nfunc", turret.Describe(s))
}

func TestStackOfNothingIsTheServiceItself(t *testing.T) {
	inner := &closer{}
	require.Same(t, inner, turret.Stack[string, string]()(inner))
	require.Same(t, inner, turret.Stack[string, string](nil, nil)(inner))
}

func TestStackKeepsNoHoldOnItsArguments(t *testing.T) {
	layers := []layer{tag("a")}
	stack := turret.Stack(layers...)
	layers[0] = tag("b")
	require.Equal(t, ">a<a", call(t, stack(echo)))
}

func TestLayersOfClosuresStayTransparent(t *testing.T) {
	var closures int
	closure := func(next svc) svc {
		closures++
		return turret.ServiceFunc[string, string](func(ctx context.Context, req string) (string, error) {
			return next.Call(ctx, req)
		})
	}
	inner := &closer{ready: errors.New("not ready")}
	s := turret.NewBuilder[string, string]().Use(tag("a"), closure).Service(inner)
	require.Equal(t, "a\nfunc\ncloser", turret.Describe(s))
	require.EqualError(t, turret.Ready(s), "not ready")
	require.NoError(t, turret.Close(s))
	require.Equal(t, 1, inner.closed)
	call(t, s)
	call(t, s)
	require.Equal(t, 1, closures, "layers are applied once, not at each call")
}

func TestLayerThatReturnsItsServiceAddsNothing(t *testing.T) {
	inner := &closer{}
	same := func(next svc) svc { return next }
	require.Same(t, inner, turret.Stack[string, string](same)(inner))
}

func TestLayersThatAreNonePanicAtConstruction(t *testing.T) {
	require.PanicsWithValue(t, "turret: LayerFunc \"x\": the function is nil", func() { turret.LayerFunc[string, string]("x", nil) })
	nothing := func(svc) svc { return nil }
	const says = "turret: a layer around turret.ServiceFunc[string,string] returned nil; a layer returns a service"
	require.PanicsWithValue(t, says, func() { turret.Stack(nothing)(echo) })
	require.PanicsWithValue(t, says, func() { turret.NewBuilder[string, string]().Use(tag("a"), nothing).Service(echo) })
}

func TestAStackAroundNothingPanicsAtConstruction(t *testing.T) {
	const says = "turret: Stack: the inner service is nil; give it the service that answers at the bottom of the stack"
	require.PanicsWithValue(t, says, func() { turret.Stack(tag("a"))(nil) })
	require.PanicsWithValue(t, says, func() { turret.NewBuilder[string, string]().Layer()(nil) })
	require.PanicsWithValue(t, "turret: With needs a layer's constructor; it was given nil",
		func() { turret.With[string, string, int](turret.NewBuilder[string, string](), nil, 1) })
}

func TestBuilderIsAValue(t *testing.T) {
	base := turret.NewBuilder[string, string]().Use(tag("a"), tag("b"))
	left, right := base.Use(tag("l")), base.Use(tag("r"))
	require.Equal(t, ">a>b<b<a", call(t, base.Service(echo)))
	require.Equal(t, ">a>b>l<l<b<a", call(t, left.Service(echo)))
	require.Equal(t, ">a>b>r<r<b<a", call(t, right.Service(echo)))
	require.Equal(t, ">a>b>r<r<b<a", call(t, right.Layer()(echo)))
}

func TestBuilderWithInfersTypes(t *testing.T) {
	var zero turret.Builder[string, string]
	require.Equal(t, ">x<x", call(t, turret.With(zero, tag, "x").ServiceFunc(echo)))
}

func TestBuilderNeedsAnInnerService(t *testing.T) {
	b := turret.NewBuilder[string, string]().Use(tag("a"))
	require.PanicsWithValue(t, "turret: Builder.Service: the inner service is nil; give it the service that answers at the bottom of the stack", func() { b.Service(nil) })
	require.PanicsWithValue(t, "turret: Builder.ServiceFunc: the function is nil; give it the one that answers at the bottom of the stack", func() { b.ServiceFunc(nil) })
}

// closer is a service at the bottom of a stack that tells and counts.
type closer struct {
	ready, closing error
	closed         int
}

func (c *closer) Call(_ context.Context, req string) (string, error) { return req, nil }
func (c *closer) Ready() error                                       { return c.ready }
func (c *closer) String() string                                     { return "closer" }
func (c *closer) Close() error                                       { c.closed++; return c.closing }

// fanOut calls the first of several services.
type fanOut []any

func (f fanOut) Call(ctx context.Context, req string) (string, error) {
	return f[0].(svc).Call(ctx, req)
}
func (f fanOut) String() string { return "fan-out" }
func (f fanOut) Unwrap() []any  { return f }

func TestReadyMeansAllOfAChainAnyOfAFanOut(t *testing.T) {
	down, up := &closer{ready: errors.New("down")}, &closer{}
	require.NoError(t, turret.Ready(nil))
	require.NoError(t, turret.Ready(echo), "who cannot tell is ready")
	require.EqualError(t, turret.Ready(tag("a")(down)), "down")
	require.NoError(t, turret.Ready(tag("a")(up)))
	require.NoError(t, turret.Ready(tag("a")(fanOut{tag("b")(down), up})))
	require.EqualError(t, turret.Ready(fanOut{down, down}), "down\ndown")
	require.EqualError(t, turret.Ready(turret.AndThen(svc(up), svc(down))), "down", "a sequence needs both")
}

func TestDescribeIndentsReplicas(t *testing.T) {
	s := tag("retry")(fanOut{tag("breaker a")(&closer{}), tag("breaker b")(unnamed{})})
	require.Equal(t, strings.TrimSpace(`
retry
fan-out
  breaker a
  closer
  breaker b
  turret_test.unnamed`), turret.Describe(s))
}

func TestDescribeLeavesOutWhatSaysNothing(t *testing.T) {
	s := tag("")(fanOut{tag("")(&closer{}), tag("breaker b")(unnamed{})})
	require.Equal(t, strings.TrimSpace(`
fan-out
  closer
  breaker b
  turret_test.unnamed`), turret.Describe(s))
}

type unnamed struct{}

func (unnamed) Call(_ context.Context, req string) (string, error) { return req, nil }

func TestCloseReachesAllOnceAndJoinsTheirErrors(t *testing.T) {
	shared := &closer{closing: errors.New("shared")}
	other := &closer{closing: errors.New("other")}
	s := tag("a")(fanOut{tag("b")(shared), other, tag("c")(shared)})
	require.EqualError(t, turret.Close(s), "shared\nother")
	require.Equal(t, 1, shared.closed)
	require.Equal(t, 1, other.closed)
}

// owner closes what it wraps by itself.
type owner struct {
	closer
	inner svc
}

func (o *owner) Close() error   { o.closed++; return turret.Close(o.inner) }
func (o *owner) Unwrap() []any  { return []any{turret.Owned(o.inner)} }
func (o *owner) String() string { return "owner" }

func TestOwnedIsSeenButNotClosedTwice(t *testing.T) {
	inner := &closer{ready: errors.New("not ready")}
	s := tag("a")(&owner{inner: tag("b")(inner)})
	require.Equal(t, "a\nowner\nb\ncloser", turret.Describe(s))
	require.EqualError(t, turret.Ready(s), "not ready")
	require.NoError(t, turret.Close(s))
	require.Equal(t, 1, inner.closed)
}

func TestReadyAndCallAllocateNothing(t *testing.T) {
	s := turret.Stack(tag("a"), tag("b"))(&closer{})
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = turret.Ready(s) }))
}
