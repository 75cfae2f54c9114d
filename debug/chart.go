package debug

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The charts' places, in units of their viewBox.
const (
	chartWidth                             = 440
	chartHeight                            = 176
	plotLeft, plotRight, plotTop, plotBase = 56, 402, 10, 148
	minute                                 = 60 * time.Second
)

// chart is a drawing of the last minute, as the template has it.
type chart struct {
	Label string // in words, for who cannot see it
	None  string // why there is nothing to see, if there is not
	Ticks []tick
	Lines []line
	Bars  []bar
	Spots []spot
}

// tick is a mark of the vertical axis.
type tick struct{ Y, Text string }

// line is a percentile over time.
type line struct {
	Name, Path string
	EndX, EndY string // where it ends, or empty
	LabelY     string
	labelY     float64
}

// bar is a part of a column.
type bar struct{ Name, X, Y, Width, Height string }

// spot is the whole height above a slot, which says its numbers.
type spot struct{ X, Width, Title string }

func at(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

// x returns the place of a time in the last minute.
func x(now, t time.Time) float64 {
	share := 1 - float64(now.Sub(t))/float64(minute)
	return plotLeft + (plotRight-plotLeft)*min(max(share, 0), 1)
}

func (w Window) middle() time.Time {
	return w.Start.Add(time.Duration(w.Seconds * float64(time.Second) / 2))
}
func (w Window) end() time.Time { return w.Start.Add(time.Duration(w.Seconds * float64(time.Second))) }

// lasting returns the slots that are long enough to say anything: the present one
// has just begun.
func lasting(slots []Window) []Window {
	return slices.DeleteFunc(slices.Clone(slots), func(w Window) bool { return w.Seconds < 1 })
}

func spots(now time.Time, slots []Window) (all []spot) {
	for _, w := range slots {
		left, right := x(now, w.Start), x(now, w.end())
		all = append(all, spot{at(left), at(right - left), fmt.Sprintf(
			"%s, %s: %s calls, %s failed\np50 %s, p95 %s, p99 %s, longest %s",
			w.Start.In(now.Location()).Format("15:04:05"), seconds(w.Seconds), whole(w.Counts.Calls), whole(w.Counts.failed()),
			latency(w.P50), latency(w.P95), latency(w.P99), latency(w.Max))})
	}
	return all
}

// latencies draws the percentiles, on a logarithmic axis: of times with a tail,
// a linear one shows the tail only.
func latencies(now time.Time, s *Stats) chart {
	slots := lasting(s.Slots)
	c := chart{Label: fmt.Sprintf("Latency in the last minute: half of the calls took up to %s, 95 %% up to %s, 99 %% up to %s",
		latency(s.Minute.P50), latency(s.Minute.P95), latency(s.Minute.P99)), Spots: spots(now, slots)}
	low, high := math.Inf(1), 0.0
	for _, w := range slots {
		if w.P50 > 0 {
			low, high = min(low, w.P50), max(high, w.P99)
		}
	}
	if high == 0 {
		c.None = s.nothing()
		if n := s.Minute.Counts; n.Calls > 0 && n.Calls == n.Rejected {
			c.None = "only refusals in the last minute"
		}
		c.Label = "Latency: " + c.None
		return c
	}
	low, high = below(low), above(high)
	y := func(v float64) float64 {
		return plotBase - (plotBase-plotTop)*math.Log(max(v, low)/low)/math.Log(high/low)
	}
	for _, v := range steps(low, high) {
		c.Ticks = append(c.Ticks, tick{at(y(v)), seconds(v)})
	}
	for _, p := range []struct {
		name string
		of   func(Window) float64
	}{
		{"p99", func(w Window) float64 { return w.P99 }},
		{"p95", func(w Window) float64 { return w.P95 }},
		{"p50", func(w Window) float64 { return w.P50 }},
	} {
		c.Lines = append(c.Lines, drawn(now, slots, p.name, p.of, y))
	}
	spread(c.Lines)
	return c
}

// nothing says why a chart is empty: what has just begun has no slot that is lasting.
func (s *Stats) nothing() string {
	if s.Minute.Counts.Calls > 0 {
		return "the first calls, a moment ago"
	}
	return "no calls in the last minute"
}

// drawn returns a line, broken where there was no call.
func drawn(now time.Time, slots []Window, name string, of func(Window) float64, y func(float64) float64) line {
	var path strings.Builder
	l := line{Name: name}
	pen := "M"
	for _, w := range slots {
		v := of(w)
		if v == 0 {
			pen = "M"
			continue
		}
		l.EndX, l.EndY = at(x(now, w.middle())), at(y(v))
		l.labelY = y(v)
		fmt.Fprintf(&path, "%s%s %s", pen, l.EndX, l.EndY)
		if pen == "M" {
			path.WriteString("h.01") // a dot, if nothing follows
		}
		pen = "L"
	}
	l.Path = path.String()
	return l
}

// spread keeps the labels of lines apart, and in the plot.
func spread(lines []line) {
	const apart = 17
	for i := range lines {
		if i > 0 {
			lines[i].labelY = max(lines[i].labelY, lines[i-1].labelY+apart)
		}
	}
	limit := float64(plotBase)
	for i := len(lines) - 1; i >= 0; i-- {
		lines[i].labelY = min(lines[i].labelY, limit)
		limit = lines[i].labelY - apart
		lines[i].LabelY = at(lines[i].labelY)
	}
}

// rates draws calls a second, those that failed on top of those that did not.
func rates(now time.Time, s *Stats) chart {
	slots := lasting(s.Slots)
	c := chart{Label: fmt.Sprintf("Calls in the last minute: %s a second, of which %s failed",
		decimal(s.Minute.Rate), percent(s.Minute.Counts.failedShare())), Spots: spots(now, slots)}
	high := 0.0
	for _, w := range slots {
		high = max(high, w.Rate)
	}
	if high == 0 {
		c.None = s.nothing()
		c.Label = "Calls a second: " + c.None
		return c
	}
	high = roof(high)
	for i := range 3 {
		v := high * float64(i) / 2
		c.Ticks = append(c.Ticks, tick{at(plotBase - (plotBase-plotTop)*v/high), decimal(v)})
	}
	for _, w := range slots {
		left, right := x(now, w.Start), x(now, w.end())
		base := float64(plotBase)
		stack := func(name string, share float64) {
			height := (plotBase - plotTop) * w.Rate * share / high
			base -= height
			if height > 0 {
				c.Bars = append(c.Bars, bar{name, at(left + 1), at(base), at(max(right-left-2, 1)), at(height)})
			}
		}
		failed := w.Counts.failedShare()
		stack("ok", 1-failed)
		stack("failed", failed)
	}
	return c
}

// rounds returns 1, 2 and 5 times the powers of ten from about low to high.
func rounds(low, high float64) (all []float64) {
	for e := math.Floor(math.Log10(low)) - 1; e <= math.Ceil(math.Log10(high))+1; e++ {
		for _, m := range []float64{1, 2, 5} {
			all = append(all, m*math.Pow(10, e))
		}
	}
	return all
}

// below returns the greatest round number below v, and above the least above it.
func below(v float64) float64 {
	all := slices.DeleteFunc(rounds(v, v), func(r float64) bool { return r >= v })
	return all[len(all)-1]
}

func above(v float64) float64 {
	return slices.DeleteFunc(rounds(v, v), func(r float64) bool { return r < v*0.999999 })[0]
}

// roof returns a number that is not much above v, and easy to halve.
func roof(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.2, 1.6, 2, 3, 4, 5, 6, 8} {
		if v <= m*unit*1.000001 {
			return m * unit
		}
	}
	return 10 * unit
}

// steps returns the round numbers from low to high or, where they are many, the
// powers of ten.
func steps(low, high float64) (all []float64) {
	const slack = 1.000001
	for _, v := range rounds(low, high) {
		if v*slack >= low && v <= high*slack {
			all = append(all, v)
		}
	}
	if len(all) <= 5 {
		return all
	}
	return slices.DeleteFunc(all, func(v float64) bool {
		e := math.Log10(v)
		return math.Abs(e-math.Round(e)) > 1e-6
	})
}
