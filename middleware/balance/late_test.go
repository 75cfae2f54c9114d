package balance

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

// What two calls do at the same time is tried here one after the other.

// A call that picked a member just before it was removed finds that out.
func TestACallThatComesTooLateEndsNothingTwice(t *testing.T) {
	told := 0
	b := New[int, int](Options{OnRemoved: func(string, any) { told++ }})
	b.Insert("a", turret.ServiceFunc[int, int](nil))
	m := b.find("a")
	require.True(t, b.enter(m))
	b.Remove("a")
	require.False(t, b.enter(m))
	require.Zero(t, told, "a call is under way")
	b.leave(m)
	require.Equal(t, 1, told)
	require.False(t, b.enter(m))
	require.Equal(t, 1, told)
	require.EqualValues(t, int64(removed|drained), m.calls.Load())
}

func TestAMemberThatIsBeingRemovedReadsAsOneThatIsNot(t *testing.T) {
	b := New[int, int](Options{})
	b.Insert("a", turret.ServiceFunc[int, int](nil))
	b.find("a").calls.Store(removed | drained | 2)
	require.Equal(t, "balance=[a=[health=in in_flight=2 latency=0s failures=0]]", b.State().String())
}

func TestAFailureThatComesTooLatePutsNobodyOnProbation(t *testing.T) {
	told := 0
	b := New[int, int](Options{OnChange: func(Event) { told++ }})
	b.Insert("a", turret.ServiceFunc[int, int](nil))
	b.Insert("b", turret.ServiceFunc[int, int](nil))
	b.Insert("c", turret.ServiceFunc[int, int](nil))
	m, boom := b.find("a"), errors.New("boom")

	first := m.term.Load()
	b.expel(t.Context(), m, first, boom, 0)
	require.Equal(t, 1, told)
	b.expel(t.Context(), m, m.term.Load(), boom, 0)
	require.Equal(t, 1, told, "it is out already")
	b.readmit(t.Context(), m, 0, 1)
	b.readmit(t.Context(), m, 0, 1)
	require.Equal(t, 2, told)
	b.expel(t.Context(), m, first, boom, 2)
	require.Equal(t, 2, told, "and came back since")
	b.prolong(m, boom, 3)
	require.Equal(t, 2, told, "as for a probe")

	b.Remove("a")
	b.expel(t.Context(), m, m.term.Load(), boom, 4)
	require.Equal(t, 2, told, "it was removed")
}
