package main

import (
	"context"
	"fmt"
	"time"

	"github.com/turretgo/turret/bench/scale"
	"github.com/turretgo/turret/bench/table"
)

// scaleResults are what scale.json has.
type scaleResults struct {
	Layers, Callers, Members []scale.Point
	InFlight                 []scale.Weight
}

func runScale(_ context.Context, o options) (*section, error) {
	effort := scale.Effort{For: 200 * time.Millisecond, Rounds: 7}
	if o.short {
		effort = scale.Effort{For: 5 * time.Millisecond, Rounds: 1}
	}
	r := scaleResults{
		InFlight: scale.InFlight(100, 1000, 10_000),
		Layers:   scale.Layers(effort, 1, 8, 64),
		Callers:  scale.Callers(effort, 1, 2, 4, 8, 16, 32, 64),
		Members:  scale.Members(effort, 2, 10, 100, 1000),
	}
	weights := table.Table{Title: "### Calls in flight", Head: []string{"calls", "bytes each, in a goroutine", "through the stack of four", "the stack's part"}}
	for _, w := range r.InFlight {
		weights.Add(fmt.Sprint(w.N), fmt.Sprintf("%.0f", w.Bare), fmt.Sprintf("%.0f", w.Stack), fmt.Sprintf("%.0f", w.Stack-w.Bare))
	}
	return &section{name: "scale", data: r, tables: []table.Table{
		points("### Layers that do nothing", "layers", r.Layers, "ns a layer", func(p scale.Point) string { return fmt.Sprintf("%.1f", p.Ns/float64(p.N)) }),
		points("### Callers of one stack of four", "callers", r.Callers, "million calls a second", func(p scale.Point) string { return fmt.Sprintf("%.2f", 1e3/p.Ns) }),
		points("### Members of a balance", "members", r.Members, "to the first", func(p scale.Point) string { return fmt.Sprintf("%.2f", p.Ns/r.Members[0].Ns) }),
		weights,
	}}, nil
}

func points(title, what string, points []scale.Point, last string, value func(scale.Point) string) table.Table {
	t := table.Table{Title: title, Head: []string{what, "ns a call", last}}
	for _, p := range points {
		t.Add(fmt.Sprint(p.N), fmt.Sprintf("%.0f", p.Ns), value(p))
	}
	return t
}
