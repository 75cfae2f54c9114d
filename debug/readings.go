package debug

import (
	"log/slog"
	"strings"
	"time"
)

// reading is one thing that a layer says of its state, as the page shows it.
type reading struct {
	Label  string
	Value  string
	Badge  bool   // it is a state that has a name
	Tone   string // of a badge or a meter: good, warn, bad, or empty
	Meter  bool
	Length string // of the meter, of a hundred
}

// attributes are what a layer's state says.
func attributes(state slog.Attr) []slog.Attr {
	if state.Value.Kind() == slog.KindGroup {
		return state.Value.Group()
	}
	if state.Key == "" {
		return nil
	}
	return []slog.Attr{state}
}

// wholes has the readings that are a part of another one, and what share of it is
// worth a look.
var wholes = map[string]struct {
	whole string
	warn  func(share float64) bool
}{
	"tokens":    {"burst", func(share float64) bool { return share < 0.1 }},
	"in_flight": {"limit", func(share float64) bool { return share >= 0.9 }},
	"accepts":   {"requests", func(share float64) bool { return share < 0.9 }},
}

var tones = map[string]string{
	"closed": "good", "well": "good", "in": "good", "usable": "good",
	"half-open": "warn", "ailing": "warn", "on probation": "warn",
	"open": "bad", "away": "bad",
}

// readings returns what attributes say, as far as it is news: not what the
// layer's line has, and no duration that is unknown or over.
func readings(attrs []slog.Attr, line string) (all []reading) {
	merged := map[string]bool{} // the wholes of meters
	for _, a := range attrs {
		if w, ok := wholes[a.Key]; ok {
			if of := number(find(attrs, w.whole)); of > 0 {
				merged[w.whole] = true
			}
		}
	}
	for _, a := range attrs {
		switch {
		case merged[a.Key]:
		case a.Key == "name" && strings.Contains(line, a.Value.String()):
		case a.Value.Kind() == slog.KindDuration && a.Value.Duration() == 0:
		case a.Value.Kind() == slog.KindGroup:
			for _, r := range readings(a.Value.Group(), line) {
				r.Label = strings.TrimSpace(label(a.Key) + " " + r.Label)
				all = append(all, r)
			}
		default:
			all = append(all, read(a, attrs, line))
		}
	}
	return all
}

func read(a slog.Attr, among []slog.Attr, line string) reading {
	r := reading{Label: label(a.Key), Value: value(a.Value)}
	switch w := wholes[a.Key]; {
	case w.whole != "" && number(find(among, w.whole)) > 0:
		of := find(among, w.whole)
		share := number(a.Value) / number(of)
		r.Value += " of " + value(of)
		return r.meter(share, w.warn(share))
	case a.Key == "refusal_probability":
		share := number(a.Value)
		r.Label, r.Value = "refuses", percent(share)
		return r.meter(share, share > 0)
	case a.Key == "budget_left" && strings.HasPrefix(line, "hedge"):
		r.Label = "hedges left"
	case a.Key == "refused_with": // of a key in a Region that does not let it be used
		r.Badge, r.Tone = true, "bad"
	case a.Key == "rate":
		r.Value += "/s"
	case a.Key == "state" || a.Key == "health":
		r.Label, r.Badge, r.Tone = "", true, tones[r.Value]
	case a.Key == "connected" && a.Value.Kind() == slog.KindBool:
		r = reading{Value: "connected", Badge: true, Tone: "good"}
		if !a.Value.Bool() {
			r.Value, r.Tone = "not connected", "bad"
		}
	case a.Key == "shared" && a.Value.Kind() == slog.KindBool: // of a fleet's limiter or breaker
		r = reading{Value: "shared", Badge: true, Tone: "good"}
		if !a.Value.Bool() {
			r.Value, r.Tone = "on its own", "warn"
		}
	}
	return r
}

func (r reading) meter(share float64, warn bool) reading {
	r.Meter, r.Length, r.Tone = true, at(100*min(max(share, 0), 1)), "good"
	if warn {
		r.Tone = "warn"
	}
	return r
}

func label(key string) string {
	switch key {
	case "half_open_in":
		return "half-open in"
	case "consecutive_failures":
		return "in a row"
	case "budget_left":
		return "retries left"
	}
	return strings.ReplaceAll(key, "_", " ")
}

func find(attrs []slog.Attr, key string) slog.Value {
	for _, a := range attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return slog.Value{}
}

// number is v as one, or 0 if it is none.
func number(v slog.Value) float64 {
	switch v.Kind() {
	case slog.KindInt64:
		return float64(v.Int64())
	case slog.KindUint64:
		return float64(v.Uint64())
	case slog.KindFloat64:
		return v.Float64()
	}
	return 0
}

func value(v slog.Value) string {
	switch v.Kind() {
	case slog.KindInt64:
		return whole(v.Int64())
	case slog.KindUint64:
		return whole(v.Uint64())
	case slog.KindFloat64:
		return decimal(v.Float64())
	case slog.KindDuration:
		return span(v.Duration())
	case slog.KindTime:
		return v.Time().Local().Format(time.RFC3339)
	case slog.KindBool:
		if v.Bool() {
			return "yes"
		}
		return "no"
	}
	return v.String()
}
