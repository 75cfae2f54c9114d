// Package plot draws bars and lines as SVG that a browser shows as it is.
package plot

import (
	"fmt"
	"html"
	"math"
	"strings"
)

const (
	width  = 720
	left   = 200 // of a bar chart's names
	margin = 60
	row    = 26
)

// colours tell series apart, also for most people who see few colours.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"}

// A Bar is a name and its value.
type Bar struct {
	Name  string
	Value float64
	Label string // what the value reads as
}

// Bars draws horizontal bars, from zero.
func Bars(title string, bars []Bar) []byte {
	most := 0.0
	for _, b := range bars {
		most = max(most, b.Value)
	}
	c := newCanvas(title, 50+row*len(bars))
	for i, b := range bars {
		y := 40 + row*i
		length := (width - left - 110) * b.Value / max(most, math.SmallestNonzeroFloat64)
		c.text(left-8, y+15, "end", b.Name)
		c.add(`<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, left, y, length, row-8, colours[0])
		c.text(left+int(length)+6, y+15, "start", b.Label)
	}
	return c.end()
}

// A Series is a line through points.
type Series struct {
	Name string
	X, Y []float64
}

// An Axis has a title, and a scale that is linear or logarithmic.
type Axis struct {
	Title    string
	Log      bool
	From, To float64
	Format   func(float64) string
}

// Lines draws series in one frame.
func Lines(title string, x, y Axis, series []Series) []byte {
	const top, height = 52, 300
	c := newCanvas(title, top+height+70+20*((len(series)+3)/4))
	at := func(px, py float64) (float64, float64) {
		return margin + x.share(px)*(width-margin-20), top + height - y.share(py)*height
	}
	for _, v := range y.ticks() {
		_, py := at(x.From, v)
		c.add(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`, margin, py, width-20, py)
		c.text(margin-6, int(py)+4, "end", y.Format(v))
	}
	for _, v := range x.ticks() {
		px, _ := at(v, y.From)
		c.add(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`, px, top, px, top+height)
		c.text(int(px), top+height+16, "middle", x.Format(v))
	}
	c.text((width+margin)/2, top+height+36, "middle", x.Title)
	c.text(margin, top-6, "start", y.Title)
	for i, s := range series {
		var points strings.Builder
		for k := range s.X {
			px, py := at(s.X[k], s.Y[k])
			fmt.Fprintf(&points, "%.1f,%.1f ", px, py)
		}
		colour := colours[i%len(colours)]
		c.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.TrimSpace(points.String()), colour)
		lx, ly := margin+(i%4)*165, top+height+58+20*(i/4)
		c.add(`<rect x="%d" y="%d" width="14" height="4" fill="%s"/>`, lx, ly-6, colour)
		c.text(lx+20, ly, "start", s.Name)
	}
	return c.end()
}

// share is where v is between the axis's ends, from 0 to 1.
func (a Axis) share(v float64) float64 {
	v = min(max(v, a.From), a.To)
	if a.Log {
		return (math.Log(v) - math.Log(a.From)) / (math.Log(a.To) - math.Log(a.From))
	}
	return (v - a.From) / (a.To - a.From)
}

// ticks are powers of ten, or some five even steps.
func (a Axis) ticks() []float64 {
	var at []float64
	if a.Log {
		for v := math.Pow(10, math.Ceil(math.Log10(a.From))); v <= a.To*1.0001; v *= 10 {
			at = append(at, v)
		}
		return at
	}
	step := math.Pow(10, math.Floor(math.Log10((a.To-a.From)/4)))
	for _, times := range []float64{1, 2, 2.5, 5, 10} {
		if (a.To-a.From)/(step*times) <= 6 {
			step *= times
			break
		}
	}
	for i := range int((a.To-a.From)/step+1e-9) + 1 {
		at = append(at, a.From+float64(i)*step)
	}
	return at
}

type canvas struct{ strings.Builder }

func newCanvas(title string, height int) *canvas {
	c := new(canvas)
	c.add(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" role="img">`, width, height, width, height)
	c.add(`<title>%s</title><rect width="100%%" height="100%%" fill="#fff"/>`, html.EscapeString(title))
	c.add(`<text x="16" y="20" font-size="14" font-weight="bold" fill="#222">%s</text>`, html.EscapeString(title))
	return c
}

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }

func (c *canvas) text(x, y int, anchor, s string) {
	c.add(`<text x="%d" y="%d" text-anchor="%s" fill="#333">%s</text>`, x, y, anchor, html.EscapeString(s))
}

func (c *canvas) end() []byte {
	c.add("</svg>")
	return []byte(c.String())
}
