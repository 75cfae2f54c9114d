package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/turretgo/turret"
)

// Bounds of what layers of one's own may say.
const (
	maxGauges = 200
	maxStates = 16
)

// words are the states that are known of a gauge before they are seen.
var words = map[string][]string{
	"turret.breaker.state":   {"closed", "half-open", "open"},
	"turret.failover.health": {"well", "ailing", "away"},
	"turret.balance.health":  {"in", "on probation"},
	"turret.awskms.state":    {"usable", "refused"},
}

// states observes the states of the stacks of one instrumentation, while there
// are any. Its gauges are found by asking the layers.
type states struct {
	meter metric.Meter
	stack []attribute.KeyValue

	// registering is held while the callback is registered anew. The callback does
	// not take it: a meter may wait for its callbacks to return, and so must not be
	// called under a lock that they want.
	registering  sync.Mutex
	registration metric.Registration
	gauges       map[string]metric.Float64ObservableGauge // of the registration; not changed, but replaced

	family family

	mu    sync.Mutex
	live  map[int]*stack      // by number
	words map[string][]string // the states seen, by gauge
}

// stack is one whose state is observed.
type stack struct {
	svc    any
	number int
}

// add observes the stack that begins with svc, in place of those given, which
// have become parts of it.
func (s *states) add(svc any, instead ...*stack) *stack {
	added := &stack{svc: svc}
	s.mu.Lock()
	s.drop(instead...)
	added.number = s.family.take()
	if s.live == nil {
		s.live = make(map[int]*stack)
	}
	s.live[added.number] = added
	s.mu.Unlock()
	s.register()
	return added
}

// remove observes a stack no more. A callback that is under way may look at it a
// last time.
func (s *states) remove(gone *stack) {
	s.mu.Lock()
	s.drop(gone)
	s.mu.Unlock()
	s.register()
}

func (s *states) drop(gone ...*stack) {
	for _, st := range gone {
		if s.live[st.number] == st { // else it has been dropped before
			delete(s.live, st.number)
			s.family.free(st.number)
		}
	}
}

// register has the callback registered with the meter while there are stacks,
// and anew when there are gauges that it was not registered for.
func (s *states) register() {
	s.registering.Lock()
	defer s.registering.Unlock()
	live := s.stacks()
	if len(live) == 0 {
		s.replace(nil)
		return
	}
	gauges := s.gaugesOf(live)
	if len(gauges) == 0 || s.registration != nil && len(gauges) == len(s.gauges) {
		return
	}
	s.gauges = gauges
	var instruments []metric.Observable
	for _, g := range gauges {
		instruments = append(instruments, g)
	}
	r, err := s.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s.observe(o, gauges)
		return nil
	}, instruments...)
	handle(err)
	s.replace(r)
}

// replace is called when the next callback is registered, so that no collection
// finds none.
func (s *states) replace(r metric.Registration) {
	if s.registration != nil {
		handle(s.registration.Unregister())
	}
	s.registration = r
}

// stacks are the live ones, by their numbers.
func (s *states) stacks() map[int]*stack {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.live)
}

// gaugesOf returns the gauges that there are, and those that are missing.
func (s *states) gaugesOf(live map[int]*stack) map[string]metric.Float64ObservableGauge {
	gauges := make(map[string]metric.Float64ObservableGauge)
	maps.Copy(gauges, s.gauges)
	for _, st := range live {
		for _, r := range read(st.svc) {
			if gauges[r.gauge] != nil || len(gauges) >= maxGauges {
				continue
			}
			g, err := s.meter.Float64ObservableGauge(r.gauge, metric.WithUnit(r.unit), metric.WithDescription(r.description()))
			handle(err)
			if g != nil {
				gauges[r.gauge] = g
			}
		}
	}
	return gauges
}

func (s *states) observe(o metric.Observer, gauges map[string]metric.Float64ObservableGauge) {
	for number, st := range s.stacks() {
		attrs := slices.Clip(s.stack)
		if number > 1 {
			attrs = append(attrs, keyStackNumber.Int(number))
		}
		for _, r := range read(st.svc) {
			if gauge := gauges[r.gauge]; gauge != nil {
				s.report(o, gauge, r, attrs)
			}
		}
	}
}

func (s *states) report(o metric.Observer, gauge metric.Float64Observable, r reading, attrs []attribute.KeyValue) {
	attrs = append(slices.Clip(attrs), r.attrs...)
	if r.word == "" {
		o.ObserveFloat64(gauge, r.value, metric.WithAttributes(attrs...))
		return
	}
	for _, word := range s.wordsOf(r) {
		is := 0.0
		if word == r.word {
			is = 1
		}
		o.ObserveFloat64(gauge, is, metric.WithAttributes(addText(slices.Clip(attrs), keyState, word)...))
	}
}

// wordsOf returns all states that a gauge is known to tell of: who leaves one
// must be seen to have left it.
func (s *states) wordsOf(r reading) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.words == nil {
		s.words = maps.Clone(words)
	}
	known := s.words[r.gauge]
	if !slices.Contains(known, r.word) && len(known) < maxStates {
		known = append(slices.Clip(known), r.word)
		s.words[r.gauge] = known
	}
	return known
}

// reading is a number that a layer's state has, or a word.
type reading struct {
	gauge string
	unit  string
	value float64
	word  string // for a state that is not a number
	attrs []attribute.KeyValue
}

func (r reading) description() string {
	if r.word != "" {
		return "1 for the state that the layer is in, and 0 for the others."
	}
	return "What the layer's State says now."
}

// read returns the readings of all layers of a stack.
func read(svc any) []reading {
	r := reader{seen: make(map[place]int)}
	r.node(turret.Inspect(svc))
	return r.readings
}

type reader struct {
	readings []reading
	seen     map[place]int
}

// place is where a layer is; there may be several of a kind at one.
type place struct{ layer, replica string }

func (r *reader) node(n turret.Node) {
	if state, ok := stateOf(n); ok {
		r.layer(state, n.Replica)
	}
	for _, below := range n.Below {
		r.node(below)
	}
}

// stateOf returns the state of n, whose layer may be anybody's code. It is asked in
// a goroutine of the SDK's, where a panic would end the program.
func stateOf(n turret.Node) (state slog.Attr, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			handle(fmt.Errorf("telemetry: the State of %T panicked: %v", n.Service, p))
			ok = false
		}
	}()
	return n.State()
}

func (r *reader) layer(state slog.Attr, replica string) {
	at := place{state.Key, replica}
	r.seen[at]++
	var attrs []attribute.KeyValue
	if n := r.seen[at]; n > 1 {
		attrs = append(attrs, keyLayerNumber.Int(n))
	}
	r.group(state.Key, state.Value.Resolve(), replica, attrs)
}

// group reads the attributes of a layer's state. A group among them is that of a
// member or replica, whose name is its key.
func (r *reader) group(layer string, group slog.Value, replica string, attrs []attribute.KeyValue) {
	if group.Kind() != slog.KindGroup {
		return
	}
	for _, a := range group.Group() {
		if a.Key == "name" && a.Value.Kind() == slog.KindString {
			attrs = addText(slices.Clip(attrs), keyLayerName, a.Value.String())
		}
	}
	for _, a := range group.Group() {
		value := a.Value.Resolve()
		if value.Kind() == slog.KindGroup {
			r.group(layer, value, a.Key, attrs)
			continue
		}
		reading := reading{gauge: "turret." + layer + "." + a.Key, attrs: addText(slices.Clip(attrs), keyReplica, replica)}
		if a.Key != "name" && isName(reading.gauge) && reading.take(value) {
			r.readings = append(r.readings, reading)
		}
	}
}

// take takes over what a value says, if that is a number or a word.
func (r *reading) take(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindInt64:
		r.value = float64(v.Int64())
	case slog.KindUint64:
		r.value = float64(v.Uint64())
	case slog.KindFloat64:
		r.value = v.Float64()
	case slog.KindDuration:
		r.value, r.unit = v.Duration().Seconds(), "s"
	case slog.KindBool:
		if v.Bool() {
			r.value = 1
		}
	case slog.KindString:
		r.word = v.String()
		return r.word != ""
	default:
		return false
	}
	return true
}

// isName reports whether OpenTelemetry takes it for an instrument's name.
var isName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]{0,254}$`).MatchString
