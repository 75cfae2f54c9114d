package telemetry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	telemetry "github.com/turretgo/turret/otel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(quiet{m}) }

// quiet fails where OpenTelemetry has something to complain of.
type quiet struct{ *testing.M }

func (q quiet) Run() int {
	var complaints atomic.Int64
	complain := func(text string) {
		complaints.Add(1)
		fmt.Fprintln(os.Stderr, "OpenTelemetry:", text)
	}
	otel.SetLogger(funcr.New(func(_, text string) { complain(text) }, funcr.Options{}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { complain(err.Error()) }))
	if code := q.M.Run(); code != 0 || complaints.Load() == 0 {
		return code
	}
	return 1
}

// backend is OpenTelemetry's SDK, and what it would have exported.
type backend struct {
	t       testing.TB
	exports *tracetest.InMemoryExporter
	reader  *sdkmetric.ManualReader
	traces  *sdktrace.TracerProvider
	meters  *sdkmetric.MeterProvider
}

func newBackend(t testing.TB, readers ...sdkmetric.Option) *backend {
	b := makeBackend(readers...)
	b.t = t
	t.Cleanup(func() {
		require.NoError(t, b.traces.Shutdown(context.Background()))
		require.NoError(t, b.meters.Shutdown(context.Background()))
	})
	return b
}

func makeBackend(readers ...sdkmetric.Option) *backend {
	b := &backend{exports: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader()}
	b.traces = sdktrace.NewTracerProvider(sdktrace.WithSyncer(b.exports))
	b.meters = sdkmetric.NewMeterProvider(append(readers, sdkmetric.WithReader(b.reader))...)
	return b
}

func (b *backend) options(name string) telemetry.Options {
	return telemetry.Options{Name: name, TracerProvider: b.traces, MeterProvider: b.meters}
}

func (b *backend) collect() metricdata.ResourceMetrics {
	b.t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(b.t, b.reader.Collect(context.Background(), &rm))
	return rm
}

// points are all measurements that a collection finds, by metric and attributes:
//
//	turret.events{turret.event.kind=retry,turret.layer.type=retry,turret.stack.name=web}
//
// A histogram's is its count.
func (b *backend) points() map[string]float64 {
	points := make(map[string]float64)
	for _, scope := range b.collect().ScopeMetrics {
		for _, m := range scope.Metrics {
			add := func(attrs attribute.Set, v float64) { points[m.Name+"{"+list(attrs.ToSlice())+"}"] = v }
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, float64(p.Count))
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			default:
				require.Failf(b.t, "an unexpected kind of metric", "%T", data)
			}
		}
	}
	return points
}

// sum adds up the points of a metric whose attributes contain all of those given.
func sum(points map[string]float64, metric string, attrs ...string) (total float64) {
	for name, v := range points {
		if has(name, metric, attrs...) {
			total += v
		}
	}
	return total
}

func has(point, metric string, attrs ...string) bool {
	if !strings.HasPrefix(point, metric+"{") {
		return false
	}
	all := "," + strings.TrimSuffix(strings.TrimPrefix(point, metric+"{"), "}") + ","
	for _, a := range attrs {
		if !strings.Contains(all, ","+a+",") {
			return false
		}
	}
	return true
}

// present are the points of a metric.
func present(points map[string]float64, metric string, attrs ...string) (names []string) {
	for name := range points {
		if has(name, metric, attrs...) {
			names = append(names, name)
		}
	}
	return names
}

func list(attrs []attribute.KeyValue) string {
	var parts []string
	for _, a := range attrs {
		parts = append(parts, string(a.Key)+"="+a.Value.String())
	}
	return strings.Join(parts, ",")
}

// named are the spans of that name, in the order of their ends.
func (b *backend) named(name string) (spans tracetest.SpanStubs) {
	for _, s := range b.exports.GetSpans() {
		if s.Name == name {
			spans = append(spans, s)
		}
	}
	return spans
}

// exported is all that left the process.
func (b *backend) exported() string {
	spans, err := json.Marshal(b.exports.GetSpans())
	require.NoError(b.t, err)
	metrics, err := json.Marshal(b.collect())
	require.NoError(b.t, err)
	return string(spans) + string(metrics)
}

func attr(s tracetest.SpanStub, key string) any {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.AsInterface()
		}
	}
	return nil
}

func events(s tracetest.SpanStub) (names []string) {
	for _, e := range s.Events {
		names = append(names, e.Name)
	}
	return names
}
