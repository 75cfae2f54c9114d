package main

import (
	"fmt"
	"slices"
	"strings"
)

// metric is a row of the plot's panels.
type metric struct {
	name     string
	of       func(result) float64
	min, max float64
	ticks    []float64
	format   func(float64) string
}

func percent(x float64) string { return fmt.Sprintf("%.0f %%", 100*x) }
func decimal(x float64) string { return fmt.Sprintf("%.1f", x) }

var metrics = []metric{
	{"goodput: signatures made, of as many as quota and demand allow", result.goodput, 0, 1, []float64{0, .25, .5, .75, 1}, percent},
	{"throttled: share of the KMS calls", result.throttled, 0, 1, []float64{0, .25, .5, .75, 1}, percent},
	{"fairness: Jain’s index of what each replica got of its fair share", result.fairness, 0.8, 1, []float64{.8, .9, 1}, decimal},
}

// The plot's measures, in its own units.
const (
	panelWidth, panelHeight = 270, 130
	gapX, gapY              = 24, 56
	left, top               = 68, 126
	markSize                = 4.5
)

// plot draws the results as an SVG: a column of panels for each load, a row for
// each metric. It has colors for light and for dark.
func plot(results []result) string {
	var loads []load
	for _, r := range results {
		if !slices.Contains(loads, r.load) {
			loads = append(loads, r.load)
		}
	}
	width := left + len(loads)*(panelWidth+gapX)
	height := top + len(metrics)*(panelHeight+gapY) + 8
	var b strings.Builder
	fmt.Fprintf(&b, header, width, height)
	legend(&b)
	for row, m := range metrics {
		y := top + row*(panelHeight+gapY)
		fmt.Fprintf(&b, "<text class=\"metric\" x=\"%d\" y=\"%d\">%s</text>\n", left, y-14, m.name)
		for column, l := range loads {
			x := left + column*(panelWidth+gapX)
			if row == 0 {
				fmt.Fprintf(&b, "<text class=\"load\" x=\"%d\" y=\"%d\">%s</text>\n", x, top-42, l.name)
			}
			p := panel{metric: m, first: column == 0, last: row == len(metrics)-1}
			for _, r := range results {
				if r.load == l {
					p.results = append(p.results, r)
				}
			}
			fmt.Fprintf(&b, "<g transform=\"translate(%d %d)\">\n", x, y)
			p.draw(&b)
			b.WriteString("</g>\n")
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

const header = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title">
<title id="title">Fleets of replicas under one KMS quota: goodput, throttled share and fairness of four ways to keep to it</title>
<style>
svg { font: 13px system-ui, sans-serif; background: #fff; --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --s0: #c2410c; --s1: #8250df; --s2: #0969da; --s3: #1a7f37 }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117; --ink: #e6edf3; --soft: #9198a1; --line: #30363d; --s0: #f0883e; --s1: #bc8cff; --s2: #58a6ff; --s3: #3fb950 }
}
text { fill: var(--soft) }
.heading, .load { fill: var(--ink); font-weight: 600 }
.heading { font-size: 16px }
.metric, .key { fill: var(--ink) }
.grid { stroke: var(--line) }
.value { text-anchor: end }
.size { text-anchor: middle }
.s0 { --c: var(--s0) } .s1 { --c: var(--s1) } .s2 { --c: var(--s2) } .s3 { --c: var(--s3) }
.mark { fill: var(--c) }
.track { fill: none; stroke: var(--c); stroke-width: 1.5; stroke-opacity: .55 }
</style>
`

// legend writes the heading and the series' names.
func legend(b *strings.Builder) {
	fmt.Fprintf(b, "<text class=\"heading\" x=\"%d\" y=\"28\">A fleet under one KMS quota of %s signatures a second</text>\n", left, thousands(quota))
	for i, s := range strategies {
		x := left + i*150
		fmt.Fprintf(b, "<g class=\"s%d\">%s</g><text class=\"key\" x=\"%d\" y=\"56\">%s</text>\n", i, mark(i, float64(x)+5, 52), x+18, s.name)
	}
}

// panel shows one metric under one load.
type panel struct {
	metric
	results     []result
	first, last bool // of its row, of its column
}

func (p panel) draw(b *strings.Builder) {
	for _, tick := range p.ticks {
		y := p.y(tick)
		fmt.Fprintf(b, "<path class=\"grid\" d=\"M0 %.1fH%d\"/>", y, panelWidth)
		if p.first {
			fmt.Fprintf(b, "<text class=\"value\" x=\"-10\" y=\"%.1f\">%s</text>", y+4.5, p.format(tick))
		}
	}
	sizes := p.sizes()
	if p.last {
		for i, n := range sizes {
			fmt.Fprintf(b, "<text class=\"size\" x=\"%.1f\" y=\"%d\">%s</text>", p.x(i), panelHeight+24, thousands(n))
		}
	}
	if p.first && p.last {
		fmt.Fprintf(b, "<text class=\"value\" x=\"-10\" y=\"%d\">replicas</text>", panelHeight+24)
	}
	b.WriteByte('\n')
	for series, s := range strategies {
		p.drawSeries(b, series, s.name, sizes)
	}
}

// sizes returns the sizes of fleets that there are results for.
func (p panel) sizes() (sizes []int) {
	for _, r := range p.results {
		sizes = append(sizes, r.replicas)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

func (p panel) drawSeries(b *strings.Builder, series int, name string, sizes []int) {
	var track, marks strings.Builder
	for _, r := range p.results {
		if r.strategy.name != name {
			continue
		}
		// Side by side, as several series are often at the same value.
		x := p.x(slices.Index(sizes, r.replicas)) + (float64(series)-1.5)*2.2*markSize
		y := p.y(min(max(p.of(r), p.min), p.max))
		fmt.Fprintf(&track, " %.1f,%.1f", x, y)
		marks.WriteString(mark(series, x, y))
	}
	fmt.Fprintf(b, "<g class=\"s%d\"><polyline class=\"track\" points=\"%s\"/>%s</g>\n", series, strings.TrimSpace(track.String()), marks.String())
}

// x returns where the ith size of fleets is.
func (p panel) x(i int) float64 {
	return (float64(i) + 0.5) * panelWidth / float64(len(p.sizes()))
}

func (p panel) y(value float64) float64 {
	return panelHeight * (p.max - value) / (p.max - p.min)
}

// mark draws a point, in a shape of its series, for those to whom colors look alike.
func mark(series int, x, y float64) string {
	const s = markSize
	switch series {
	case 0:
		return fmt.Sprintf(`<path class="mark" d="M%.1f %.1fl%.1f %.1fh%.1fz"/>`, x, y-s, s, 2*s, -2*s) // triangle
	case 1:
		return fmt.Sprintf(`<rect class="mark" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x-0.9*s, y-0.9*s, 1.8*s, 1.8*s)
	case 2:
		return fmt.Sprintf(`<path class="mark" d="M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz"/>`, x, y-1.2*s, 1.2*s, 1.2*s, -1.2*s, 1.2*s, -1.2*s, -1.2*s) // diamond
	}
	return fmt.Sprintf(`<circle class="mark" cx="%.1f" cy="%.1f" r="%.1f"/>`, x, y, s)
}
