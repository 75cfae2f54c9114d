package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/turretgo/turret/debug"
)

// classes are the outcomes that these faults have.
var classes = []string{"ok", "transient", "throttled"}

// view is what one of those who watched saw.
type view struct {
	of       string
	calls    *uint64           // signatures asked for; nil if it cannot know
	outcomes map[string]uint64 // of attempts
}

func (v view) attempts() (n uint64) {
	for _, some := range v.outcomes {
		n += some
	}
	return n
}

// agree returns an error unless all saw the same.
func agree(views []view) error {
	first := views[0]
	for _, v := range views[1:] {
		if !maps.Equal(v.outcomes, first.outcomes) {
			return fmt.Errorf("%s and %s disagree on the attempts: %v and %v", first.of, v.of, first.outcomes, v.outcomes)
		}
		if w := views[1]; *v.calls != *w.calls {
			return fmt.Errorf("%s and %s disagree on the signatures asked for: %d and %d", w.of, v.of, *w.calls, *v.calls)
		}
	}
	return nil
}

// views asks everybody, the KMS first.
func (p *process) views(ctx context.Context) ([]view, error) {
	metrics, err := p.metrics(ctx)
	if err != nil {
		return nil, err
	}
	page, err := p.page(ctx)
	if err != nil {
		return nil, err
	}
	return []view{p.kmsItself(), p.spans.view(), metrics, page}, nil
}

func (p *process) kmsItself() view {
	c := p.kms.Stats().Op("Sign")
	return view{"KMS", nil, map[string]uint64{
		"ok":        uint64(c.OK),
		"throttled": uint64(c.Throttled),
		"transient": uint64(c.Requests - c.OK - c.Throttled),
	}}
}

// spanCounts is an exporter that counts, where yours sends spans somewhere.
type spanCounts struct {
	mu       sync.Mutex
	calls    uint64
	outcomes map[string]uint64
}

func newSpanCounts() *spanCounts { return &spanCounts{outcomes: make(map[string]uint64)} }

func (s *spanCounts) ExportSpans(_ context.Context, spans []trace.ReadOnlySpan) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range spans {
		if span.Name() == "turret.call" {
			s.calls++
			continue
		}
		for _, a := range span.Attributes() {
			if a.Key == "turret.outcome" {
				s.outcomes[a.Value.AsString()]++
			}
		}
	}
	return nil
}

func (s *spanCounts) Shutdown(context.Context) error { return nil }

func (s *spanCounts) view() view {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	return view{"traces", &calls, maps.Clone(s.outcomes)}
}

// metrics scrapes what Prometheus would.
func (p *process) metrics(ctx context.Context) (view, error) {
	body, err := get(ctx, p.url+"/metrics")
	if err != nil {
		return view{}, err
	}
	defer body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(body)
	if err != nil {
		return view{}, fmt.Errorf("metrics: %w", err)
	}
	var calls uint64
	for _, m := range families["turret_call_duration_seconds"].GetMetric() {
		calls += m.GetHistogram().GetSampleCount()
	}
	outcomes := make(map[string]uint64)
	for _, m := range families["turret_attempt_duration_seconds"].GetMetric() {
		outcomes[label(m, "turret_outcome")] += m.GetHistogram().GetSampleCount()
	}
	return view{"metrics", &calls, outcomes}, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// page reads the debug page, as JSON: of its layers the outermost counts calls, and
// the innermost one that counts at all, attempts.
func (p *process) page(ctx context.Context) (view, error) {
	body, err := get(ctx, p.url+"/debug/turret?format=json")
	if err != nil {
		return view{}, err
	}
	defer body.Close()
	var report debug.Report
	if err := json.NewDecoder(body).Decode(&report); err != nil {
		return view{}, fmt.Errorf("debug page: %w", err)
	}
	var counts []debug.Counts
	for _, layer := range report.Stacks[0].Layers {
		if layer.Stats != nil {
			counts = append(counts, layer.Stats.Total)
		}
	}
	calls, attempts := counts[0].Calls, counts[len(counts)-1]
	return view{"debug page", &calls, map[string]uint64{
		"ok":        attempts.OK,
		"throttled": attempts.Throttled,
		"transient": attempts.Transient,
	}}, nil
}

func get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return resp.Body, nil
}
