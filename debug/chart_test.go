package debug

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

// slotted has a slot of five seconds for each number of seconds, the last until now.
func slotted(p50 ...float64) *Stats {
	s := &Stats{}
	for i, v := range p50 {
		w := Window{Start: now.Add(-5 * time.Second * time.Duration(len(p50)-i)), Seconds: 5}
		if v > 0 {
			w.P50, w.P95, w.P99, w.Max = v, 2*v, 4*v, 5*v
			w.Counts = Counts{Calls: 10, OK: 8, Transient: 2}
			w.Rate = 2
		}
		s.Slots = append(s.Slots, w)
	}
	return s
}

func TestLinesBreakWhereThereWereNoCalls(t *testing.T) {
	c := latencies(now, slotted(0.01, 0.02, 0, 0.01))
	require.Len(t, c.Lines, 3)
	for _, l := range c.Lines {
		require.Equal(t, 2, strings.Count(l.Path, "M"), l.Path)
		require.Equal(t, 1, strings.Count(l.Path, "L"), l.Path)
	}
	require.Len(t, c.Spots, 4)
	require.Contains(t, c.Spots[0].Title, "07:59:40, 5 s: 10 calls, 2 failed\np50 10 ms, p95 20 ms, p99 40 ms, longest 50 ms")
	require.Contains(t, c.Spots[2].Title, "p50 –")
}

func TestAnEmptyChartSaysWhyItIs(t *testing.T) {
	minute := func(seconds float64, n Counts) *Stats {
		w := Window{Start: now.Add(-time.Second), Seconds: seconds, Rate: float64(n.Calls) / seconds, Counts: n}
		return &Stats{Minute: w, Slots: []Window{w}}
	}
	for _, tc := range []struct {
		s              *Stats
		latency, rates string
	}{
		{minute(5, Counts{}), "no calls in the last minute", "no calls in the last minute"},
		{minute(5, Counts{Calls: 9, Rejected: 9}), "only refusals in the last minute", ""},
		{minute(0.5, Counts{Calls: 9, OK: 9}), "the first calls, a moment ago", "the first calls, a moment ago"},
	} {
		require.Equal(t, tc.latency, latencies(now, tc.s).None)
		require.Contains(t, latencies(now, tc.s).Label, tc.latency)
		require.Equal(t, tc.rates, rates(now, tc.s).None)
	}
}

func TestTheAxisHasAFewRoundTicks(t *testing.T) {
	for _, tc := range []struct {
		low, high float64
		want      string
	}{
		{0.010, 0.010, "5 ms, 10 ms, 20 ms, 50 ms"}, // p99 is four times as much
		{0.012, 0.300, "10 ms, 100 ms, 1 s"},
		{0.00001, 0.5, "10 µs, 100 µs, 1 ms, 10 ms, 100 ms, 1 s"},
		{3, 3, "2 s, 5 s, 10 s, 20 s"},
	} {
		var ticks []string
		last := 1e9
		for _, tick := range latencies(now, slotted(tc.low, tc.high)).Ticks {
			ticks = append(ticks, tick.Text)
			y, err := strconv.ParseFloat(tick.Y, 64)
			require.NoError(t, err)
			require.Less(t, y, last)
			require.GreaterOrEqual(t, y, float64(plotTop))
			require.LessOrEqual(t, y, float64(plotBase))
			last = y
		}
		require.Equal(t, tc.want, strings.Join(ticks, ", "))
	}
}

func TestLabelsOfLinesStayApart(t *testing.T) {
	for _, v := range []float64{0.001, 0.01, 0.09, 1} {
		lines := latencies(now, slotted(v, 10*v, v/10, v)).Lines
		for i := range lines[1:] {
			require.GreaterOrEqual(t, lines[i+1].labelY-lines[i].labelY, 17.0)
		}
		require.LessOrEqual(t, lines[2].labelY, float64(plotBase))
	}
}

func TestBarsAreAsHighAsTheRate(t *testing.T) {
	c := rates(now, slotted(0.01, 0, 0.01))
	require.Len(t, c.Bars, 4, "ok and failed, of two slots")
	require.Equal(t, []tick{{"148.0", "0"}, {"79.0", "1"}, {"10.0", "2"}}, c.Ticks)
	require.Equal(t, "110.4", c.Bars[0].Height)
	require.Equal(t, "27.6", c.Bars[1].Height)
	require.Equal(t, "10.0", c.Bars[1].Y)
}

func TestChartsOfNothingAreEmpty(t *testing.T) {
	for _, s := range []*Stats{{}, slotted(0, 0)} {
		for _, c := range []chart{latencies(now, s), rates(now, s)} {
			require.Empty(t, c.Lines)
			require.Empty(t, c.Bars)
			require.Empty(t, c.Ticks)
			require.NotEmpty(t, c.Label)
		}
	}
}

func TestTheLeftEdgeIsAMinuteAgo(t *testing.T) {
	require.InDelta(t, plotLeft, x(now, now.Add(-time.Minute)), 1e-9)
	require.InDelta(t, plotRight, x(now, now), 1e-9)
	require.InDelta(t, plotLeft, x(now, now.Add(-time.Hour)), 1e-9)
	require.InDelta(t, plotRight, x(now, now.Add(time.Hour)), 1e-9)
}

func TestASlotThatHasJustBegunIsNotDrawn(t *testing.T) {
	s := slotted(0.01, 0.01)
	s.Slots[1].Seconds = 0.9
	require.NotContains(t, latencies(now, s).Lines[0].Path, "L")
	require.Len(t, rates(now, s).Bars, 2)
}
