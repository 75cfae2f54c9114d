package debug

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	//go:embed page.html
	markup string
	//go:embed page.css
	style string
	//go:embed page.js
	script string

	page = template.Must(template.New("page").Funcs(template.FuncMap{
		"count":   whole[int64],
		"decimal": decimal,
		"failed":  Counts.failedShare,
		"latency": latency,
		"percent": percent,
		"seconds": seconds,
		"whole":   whole[uint64],
	}).Parse(markup))

	// policy lets nothing in but the page's own style and script, which asks for
	// nothing but the page.
	policy = "default-src 'none'; style-src " + hash(style) + "; script-src " + hash(script) +
		"; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// pageView and the types below it are a Report as the template has it.
type pageView struct {
	Refresh bool
	Only    string       // the one stack that is asked for, or empty
	Toggle  template.URL // the page that refreshes itself, or does not
	JSON    template.URL
	Now     string
	NowISO  string
	Style   template.CSS
	Script  template.JS
	Stacks  []stackView
}

type stackView struct {
	Stack
	ID       string
	Link     template.URL // to it alone
	Ailing   []ailing     // what is not well with it
	Overview *statsView   // of the outermost layer that keeps account
	At       string       // that layer, unless it is the outermost of all
	Layers   []layerView
	HasStats bool
}

// ailing is what is not well with a replica, or with what is in none.
type ailing struct{ Where, What string }

type layerView struct {
	Name, Rest string // of its line
	Problem    string
	Readings   []reading
	Stats      *statsView
	Replicas   []replicaView
}

type replicaView struct {
	Name     string
	Readings []reading // what the fan-out says of it
	Layers   []layerView
}

type statsView struct {
	*Stats
	ID       string
	Latency  chart
	Rates    chart
	Since    string
	SinceISO string
	Lasted   string
	Errors   []errorView
}

type errorView struct{ Class, Text, ISO, Clock, Ago string }

// Latest is the last error, if there is one.
func (v *statsView) Latest() []errorView { return v.Errors[:min(1, len(v.Errors))] }

// ending is how calls ended, and how many.
type ending struct {
	Name          string
	Rate          float64
	Minute, Total uint64
}

// Endings are the rows of the table of counts: good ends, and those that there were.
func (v *statsView) Endings() (rows []ending) {
	minute, total := v.Minute.Counts.byEnding(), v.Total.byEnding()
	for i, name := range endings {
		if i == 0 || total[i] > 0 {
			rows = append(rows, ending{name, float64(minute[i]) / max(v.Minute.Seconds, 1), minute[i], total[i]})
		}
	}
	return rows
}

// Never are the other ways to end.
func (v *statsView) Never() string {
	var names []string
	for i, n := range v.Total.byEnding() {
		if i > 0 && n == 0 {
			names = append(names, endings[i])
		}
	}
	return strings.Join(names, ", ")
}

var endings = [...]string{"ok", "unknown", "transient", "throttled", "permanent", "canceled", "rejected"}

func (c Counts) byEnding() [len(endings)]uint64 {
	return [...]uint64{c.OK, c.Unknown, c.Transient, c.Throttled, c.Permanent, c.Canceled, c.Rejected}
}

func render(w io.Writer, r Report, only string, refresh bool) error {
	r.Now = r.Now.Local()
	v := pageView{
		Refresh: refresh,
		Only:    only,
		Toggle:  link("stack", only),
		JSON:    link("stack", only, "format", "json"),
		Now:     r.Now.Format("2006-01-02 15:04:05 MST"),
		NowISO:  r.Now.Format(time.RFC3339),
		Style:   template.CSS(style),
		Script:  template.JS(script),
	}
	if refresh {
		v.Toggle = link("stack", only, "refresh", "0")
	}
	for _, s := range r.Stacks {
		v.Stacks = append(v.Stacks, viewStack(r.Now, s))
	}
	return page.Execute(w, v)
}

// link returns a query of the page of these keys and values, but for empty ones.
func link(pairs ...string) template.URL {
	query := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			query.Set(pair[0], pair[1])
		}
	}
	return template.URL("?" + query.Encode())
}

func viewStack(now time.Time, s Stack) stackView {
	v := stackView{Stack: s, ID: "stack-" + s.Name, Link: link("stack", s.Name)}
	v.Name = cmp.Or(s.Name, "(no name)")
	overview := slices.IndexFunc(s.Layers, func(l Layer) bool { return l.Stats != nil })
	if overview >= 0 {
		v.HasStats = true
		v.Overview = viewStats(now, v.ID, s.Layers[overview].Stats)
	}
	if overview > 0 {
		v.At = s.Layers[overview].Line
	}
	v.Layers = v.view(now, v.ID, "", s.Layers, overview)
	return v
}

// view returns layers of a replica, or of none, with the accounts of all but the
// one that is the overview, and notes what is not well with them.
func (v *stackView) view(now time.Time, id, replica string, layers []Layer, overview int) (views []layerView) {
	for i, l := range layers {
		id := fmt.Sprintf("%s/%d", id, i)
		view := layerView{Problem: l.Problem}
		view.Name, view.Rest = split(l.Line)
		if l.Stats != nil && i != overview {
			v.HasStats = true
			view.Stats = viewStats(now, id, l.Stats)
		}
		said := attributes(l.state)
		for j, r := range l.Replicas {
			var of []slog.Attr
			of, said = take(said, r.Name)
			below := r.Layers
			if len(below) > 1 && below[0].titles(r.Name) { // as the heading does
				below = below[1:]
			}
			named := replicaView{Name: r.Name, Readings: readings(of, "")}
			v.note(r.Name, "", named.Readings)
			named.Layers = v.view(now, fmt.Sprintf("%s/%d", id, j), r.Name, below, -1)
			view.Replicas = append(view.Replicas, named)
		}
		view.Readings = readings(said, l.Line)
		v.note(replica, view.Name, view.Readings)
		views = append(views, view)
	}
	return views
}

// titles reports whether l is but a line that says name.
func (l Layer) titles(name string) bool {
	return l.Line == name && l.State == nil && l.Stats == nil && l.Replicas == nil && l.Problem == ""
}

// note notes the states of a replica, or of a layer of it, that are not good.
func (v *stackView) note(replica, layer string, readings []reading) {
	for _, r := range readings {
		if !r.Badge || r.Tone == "good" || r.Tone == "" {
			continue
		}
		what := strings.Join(strings.Fields(layer+" "+r.Label+" "+r.Value), " ")
		if n := len(v.Ailing); n > 0 && v.Ailing[n-1].Where == replica {
			v.Ailing[n-1].What += ", " + what
		} else {
			v.Ailing = append(v.Ailing, ailing{replica, what})
		}
	}
}

// take takes the group of that name out of attrs.
func take(attrs []slog.Attr, name string) (group, rest []slog.Attr) {
	for _, a := range attrs {
		if a.Key == name && a.Value.Kind() == slog.KindGroup {
			group = append(group, a.Value.Group()...)
		} else {
			rest = append(rest, a)
		}
	}
	return group, rest
}

// kind matches what the layers here begin their lines with, and a word of others'.
var kind = regexp.MustCompile(`^(?:AWS KMS|load shed|rate limit|skip verify|[A-Za-z]+)\b`)

// split divides a layer's line into what it is and how it is configured.
func split(line string) (name, rest string) {
	name = cmp.Or(kind.FindString(line), line)
	return name, line[len(name):]
}

func viewStats(now time.Time, id string, s *Stats) *statsView {
	v := &statsView{
		Stats:    s,
		ID:       id,
		Latency:  latencies(now, s),
		Rates:    rates(now, s),
		Since:    s.Since.In(now.Location()).Format("2006-01-02 15:04:05"),
		SinceISO: s.Since.Format(time.RFC3339),
		Lasted:   span(now.Sub(s.Since).Truncate(time.Second)),
	}
	for _, e := range s.Errors {
		v.Errors = append(v.Errors, errorView{e.Class, e.Text, e.Time.Format(time.RFC3339Nano), clock(now, e.Time), ago(now, e.Time)})
	}
	return v
}

// latency is a duration that is unknown if it is 0.
func latency(s float64) string {
	if s == 0 {
		return "–"
	}
	return seconds(s)
}

func (c Counts) failed() uint64 { return c.Calls - c.OK }

func (c Counts) failedShare() float64 {
	if c.Calls == 0 {
		return 0
	}
	return float64(c.failed()) / float64(c.Calls)
}
