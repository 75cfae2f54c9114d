package turret_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

// stateful is a service with a state, around others.
type stateful struct {
	name  string
	below []any
	shut  int
}

func (s *stateful) Call(context.Context, string) (string, error) { return s.name, nil }
func (s *stateful) String() string                               { return s.name + " layer" }
func (s *stateful) Unwrap() []any                                { return s.below }
func (s *stateful) State() slog.Attr                             { return slog.Group(s.name, slog.Int("queue", 3)) }
func (s *stateful) Close() error                                 { s.shut++; return nil }

func TestInspectFindsStatesAndReplicas(t *testing.T) {
	leaf := turret.ServiceFunc[string, string](func(context.Context, string) (string, error) { return "", nil })
	a, b := &stateful{name: "a", below: []any{leaf}}, &stateful{name: "b", below: []any{turret.Owned(leaf)}}
	fan := &stateful{name: "fan", below: []any{turret.Named("eu", a), turret.Named("us", b)}}
	opaque := func(next turret.Service[string, string]) turret.Service[string, string] {
		return turret.ServiceFunc[string, string](next.Call)
	}
	n := turret.Inspect(turret.Stack(opaque)(fan))

	require.Equal(t, "func", n.Line)
	_, ok := n.State()
	require.False(t, ok, "a plain function has no state")

	require.Len(t, n.Below, 1)
	n = n.Below[0]
	require.Equal(t, "fan layer", n.Line)
	require.Same(t, fan, n.Service)
	require.Empty(t, n.Replica)
	state, ok := n.State()
	require.True(t, ok)
	require.Equal(t, "fan=[queue=3]", state.String())

	require.Len(t, n.Below, 2)
	require.Equal(t, "eu", n.Below[0].Replica)
	require.Same(t, a, n.Below[0].Service)
	require.Equal(t, "us", n.Below[1].Replica)
	require.Equal(t, "us", n.Below[1].Below[0].Replica, "all that is below a replica is a part of it")
	_, isFunc := n.Below[1].Below[0].Service.(turret.ServiceFunc[string, string])
	require.True(t, isFunc, "the service itself, not who owns it")
}

func TestANamedServiceIsTheSameToEverything(t *testing.T) {
	replica := &stateful{name: "a"}
	fan := &stateful{name: "fan", below: []any{turret.Named("eu", replica), turret.Named("us", replica)}}
	require.Equal(t, "fan layer\n  a layer\n  a layer", turret.Describe(fan))
	require.NoError(t, turret.Ready(fan))
	require.NoError(t, turret.Close(fan))
	require.Equal(t, 1, replica.shut, "once, under whatever names")
}
