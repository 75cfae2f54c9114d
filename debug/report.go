package debug

import (
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/stats"
)

// Report is what the page shows, and the JSON that format=json answers with.
type Report struct {
	Now    time.Time `json:"now"`
	Stacks []Stack   `json:"stacks"` // by name
}

// Stack is a stack as it is now.
type Stack struct {
	Name    string  `json:"name"`
	Ready   bool    `json:"ready"`             // whether turret.Ready says that it would admit a call
	Refusal string  `json:"refusal,omitempty"` // why it would not
	Layers  []Layer `json:"layers"`            // the outermost first
	Problem string  `json:"problem,omitempty"` // why there is nothing to show
}

// Layer is a layer of a stack, or the service at its bottom.
type Layer struct {
	Line     string         `json:"line"` // as turret.Describe has it
	State    map[string]any `json:"state,omitempty"`
	Stats    *Stats         `json:"stats,omitempty"`
	Replicas []Replica      `json:"replicas,omitempty"` // what a fan-out has below it
	Problem  string         `json:"problem,omitempty"`  // why State or Stats is missing, if it should not be

	state slog.Attr // State, in its order
}

// Replica is one of several stacks below a fan-out.
type Replica struct {
	Name   string  `json:"name,omitempty"`
	Layers []Layer `json:"layers"`
}

// Stats is the account of a layer that keeps one.
type Stats struct {
	InFlight int64     `json:"in_flight"`
	Since    time.Time `json:"since"`  // when it began
	Total    Counts    `json:"total"`  // since then
	Minute   Window    `json:"minute"` // about the last minute
	Slots    []Window  `json:"slots"`  // the same, in stretches of five seconds, the oldest first
	Errors   []Error   `json:"errors"` // the last ones, the latest first
}

// Counts are calls by how they ended: well, or by their error's class.
type Counts struct {
	Calls     uint64 `json:"calls"` // all of them
	OK        uint64 `json:"ok"`
	Unknown   uint64 `json:"unknown"`
	Transient uint64 `json:"transient"`
	Throttled uint64 `json:"throttled"`
	Permanent uint64 `json:"permanent"`
	Canceled  uint64 `json:"canceled"`
	Rejected  uint64 `json:"rejected"`
}

// Window is what happened in a stretch of time. The percentiles are of all calls
// that were not refused, and missing where there was none.
type Window struct {
	Start   time.Time `json:"start"`
	Seconds float64   `json:"length_seconds"`
	Rate    float64   `json:"calls_per_second"`
	Counts  Counts    `json:"counts"`
	P50     float64   `json:"p50_seconds,omitempty"`
	P95     float64   `json:"p95_seconds,omitempty"`
	P99     float64   `json:"p99_seconds,omitempty"`
	Max     float64   `json:"max_seconds,omitempty"`
}

// Error is a call's error.
type Error struct {
	Time  time.Time `json:"time"`
	Class string    `json:"class"`
	Text  string    `json:"text"` // its beginning, if it is long
}

// report looks at a stack, whose layers may be anybody's code: what panics is told
// in place.
func report(name string, svc any) Stack {
	s := Stack{Name: clean(name), Layers: []Layer{}}
	if isNil(svc) {
		s.Problem = "there is no stack under this name: it is nil"
		return s
	}
	s.Problem = attempt("looking at the stack", func() { s.Layers = layers(turret.Inspect(svc)) })
	if s.Problem != "" {
		return s
	}
	var err error
	if problem := attempt("asking whether it is ready", func() { err = turret.Ready(svc) }); problem != "" {
		s.Refusal = problem
	} else if err != nil {
		s.Refusal = errorText(err)
	}
	s.Ready = s.Refusal == ""
	return s
}

// isNil reports whether svc is nil, or a pointer that is, such as a signer's that
// could not be built.
func isNil(svc any) bool {
	v := reflect.ValueOf(svc)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// attempt calls f, and tells if that panicked.
func attempt(what string, f func()) (problem string) {
	defer func() {
		if v := recover(); v != nil {
			problem = clean(fmt.Sprintf("%s panicked: %v", what, v))
		}
	}()
	f()
	return ""
}

// layers returns the chain that begins with n, as far as it does not fan out.
func layers(n turret.Node) (chain []Layer) {
	for {
		l := layer(n)
		if len(n.Below) == 1 {
			if !l.silent() {
				chain = append(chain, l)
			}
			n = n.Below[0]
			continue
		}
		for _, below := range n.Below {
			r := Replica{Layers: layers(below)}
			if below.Replica != n.Replica { // else that is the name of what n belongs to
				r.Name = clean(below.Replica)
			}
			l.Replicas = append(l.Replicas, r)
		}
		return append(chain, l)
	}
}

// silent reports whether there is nothing to say of l. Describe leaves it out, too.
func (l Layer) silent() bool {
	return l.Line == "" && l.State == nil && l.Stats == nil && l.Problem == ""
}

func layer(n turret.Node) Layer {
	l := Layer{Line: clean(n.Line)}
	l.Problem = attempt("its State", func() {
		if a, ok := n.State(); ok && !a.Equal(slog.Attr{}) {
			l.state = slog.Attr{Key: clean(a.Key), Value: resolve(a.Value, 0)}
			l.State = object([]slog.Attr{l.state})
		}
	})
	if problem := attempt("its Stats", func() {
		if s, ok := stats.Of(n.Service); ok {
			l.Stats = account(s)
		}
	}); problem != "" {
		l.Problem = problem
	}
	return l
}

// deepest is how far groups in groups are followed.
const deepest = 8

// resolve returns v with all that is evaluated late evaluated, and its texts clean.
func resolve(v slog.Value, depth int) slog.Value {
	switch v = v.Resolve(); v.Kind() {
	case slog.KindString:
		return slog.StringValue(clean(v.String()))
	case slog.KindAny, slog.KindLogValuer:
		return slog.StringValue(clean(fmt.Sprint(v.Any())))
	case slog.KindGroup:
		if depth == deepest {
			return slog.StringValue("…")
		}
		var attrs []slog.Attr
		for _, a := range v.Group() {
			attrs = append(attrs, slog.Attr{Key: clean(a.Key), Value: resolve(a.Value, depth+1)})
		}
		return slog.GroupValue(attrs...)
	}
	return v
}

// object returns resolved attributes as a JSON object. One that says nothing is nil.
func object(attrs []slog.Attr) map[string]any {
	var o map[string]any
	put := func(key string, v any) {
		if o == nil {
			o = make(map[string]any)
		}
		o[key] = v
	}
	for _, a := range attrs {
		switch v := a.Value; v.Kind() {
		case slog.KindGroup:
			if group := object(v.Group()); group != nil {
				put(a.Key, group)
			}
		case slog.KindDuration:
			put(a.Key+"_seconds", v.Duration().Seconds())
		case slog.KindFloat64:
			if f := v.Float64(); math.IsNaN(f) || math.IsInf(f, 0) { // which JSON does not have
				put(a.Key, v.String())
			} else {
				put(a.Key, f)
			}
		case slog.KindTime:
			put(a.Key, v.Time().UTC().Format(time.RFC3339Nano))
		default:
			put(a.Key, v.Any())
		}
	}
	return o
}

func account(s stats.Snapshot) *Stats {
	a := &Stats{
		InFlight: s.InFlight,
		Since:    s.Since.UTC(),
		Total:    countsOf(s.Total),
		Minute:   windowOf(s.Minute),
		Slots:    []Window{},
		Errors:   []Error{},
	}
	for _, w := range s.Slots {
		a.Slots = append(a.Slots, windowOf(w))
	}
	for _, e := range s.Errors {
		a.Errors = append(a.Errors, Error{e.At.UTC(), e.Class.String(), errorText(e.Err)})
	}
	return a
}

func errorText(err error) (text string) {
	if problem := attempt("its Error method", func() { text = clean(err.Error()) }); problem != "" {
		return problem
	}
	return text
}

func countsOf(c stats.Counts) Counts {
	return Counts{c.Calls(), c.OK, c.Unknown, c.Transient, c.Throttled, c.Permanent, c.Canceled, c.Rejected}
}

func windowOf(w stats.Window) Window {
	return Window{
		Start:   w.Start.UTC(),
		Seconds: w.Length.Seconds(),
		Rate:    float64(w.Calls()) / max(w.Length, time.Second).Seconds(), // one call in a slot's first microsecond is not a million a second
		Counts:  countsOf(w.Counts),
		P50:     w.P50.Seconds(),
		P95:     w.P95.Seconds(),
		P99:     w.P99.Seconds(),
		Max:     w.Max.Seconds(),
	}
}
