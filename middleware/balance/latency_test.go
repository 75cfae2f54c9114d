package balance

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLatencyRisesAtOnceAndFallsSlowly(t *testing.T) {
	const half = 2839 // ticks, after which half is left: ticksPerDecay × ln 2
	for _, tc := range []struct {
		what    string
		average func(estimate, float64) (float64, bool)
		ticks   uint32
		took    time.Duration
		want    float64 // beside an average of 1000
	}{
		{"an answer that took longer counts at once", answered, 1, 3000, 3000},
		{"an answer that took less by the time since the last", answered, half, 500, 750},
		{"and if that was now not at all", answered, 0, 500, 1000},
		{"a call without an answer raises what there is", unanswered, 0, 3000, 3000},
		{"and never lowers it", unanswered, 0, 500, 1000},
		{"be it long ago", unanswered, half, 400, 500},
		{"what is left may be raised again", unanswered, half, 600, 600},
		{"a refusal raises", refused, half, 3000, 3000},
		{"and makes nobody look fast", refused, half, 500, 1000},
		{"a failure counts as ten times as long", failed, half, 500, 500 + 10*500},
		{"never as shorter", failed, 0, 1, 1000},
		{"nor than it took", failed, 0, 3000, 3000},
	} {
		var l latency
		l.set(1000, 7)
		l.observe(tc.took, 7+tc.ticks, tc.average)
		got := l.at(7 + tc.ticks)
		require.InDelta(t, tc.want, got.average*got.weight, tc.want/500, tc.what)
	}
}

func TestLatencyOfAnIdleMemberFades(t *testing.T) {
	var l latency
	require.False(t, l.at(0).isKnown())
	l.set(time.Second, 0)
	require.InDelta(t, float64(time.Second)/math.E, l.at(ticksPerDecay).cost(0), 1e5)
	require.EqualValues(t, 1, l.at(1000*ticksPerDecay).cost(0), "but keeps telling calls under way")
	require.EqualValues(t, 4, l.at(1000*ticksPerDecay).cost(3))
}

func TestLatencyBearsAClockThatGoesAroundOrBack(t *testing.T) {
	var l latency
	l.set(1000, math.MaxUint32)
	require.InDelta(t, 1000/math.E, l.at(ticksPerDecay-1).cost(0), 1)
	require.EqualValues(t, 1000, l.at(math.MaxUint32-1).cost(0), "as a call that looked at it before")
}

func TestLatencyOfManySmallStepsAddsUp(t *testing.T) {
	var l latency
	l.set(1000, 0)
	for tick := range uint32(10 * ticksPerDecay) {
		l.observe(990, tick, answered)
	}
	require.InDelta(t, 990, l.at(10*ticksPerDecay).average, 1)
}

func TestPenaltiesOnPenaltiesEnd(t *testing.T) {
	var l latency
	l.set(1000, 0)
	for i := range uint32(1000) {
		l.observe(1, i*ticksPerDecay, failed)
	}
	require.InDelta(t, worstPenalized, l.at(1000*ticksPerDecay).average, 1e6)
}

func TestCostOfANewMember(t *testing.T) {
	var none estimate
	known := estimate{average: float64(time.Hour), weight: 1}
	require.Zero(t, none.cost(0), "it is tried first")
	require.Greater(t, none.cost(1), known.cost(1000), "but with one call")
	require.Greater(t, none.cost(2), none.cost(1))
}
