package telemetry

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/turretgo/turret"
)

// operation is what there is a span and a measurement of: a call, or an attempt.
type operation struct {
	tracer   trace.Tracer
	spanName string
	start    []trace.SpanStartOption
	duration metric.Float64Histogram
	active   metric.Int64UpDownCounter
	series   bounded[string, *series] // by replica
}

// series are the options of a replica's measurements, made once: a measurement
// allocates nothing for them.
type series struct {
	active []metric.AddOption
	ended  [outcomes][]metric.RecordOption
}

func (op *operation) init(stack []attribute.KeyValue) {
	op.series = bounded[string, *series]{
		limit: maxReplicas,
		make: func(replica string) *series {
			return newSeries(addText(slices.Clip(stack), keyReplica, replica))
		},
		rest: newSeries(append(slices.Clip(stack), keyOverflow.Bool(true))),
	}
}

func newSeries(attrs []attribute.KeyValue) *series {
	s := &series{active: addOptions(attrs)}
	for o := range outcomes {
		set := attribute.NewSet(o.addTo(slices.Clip(attrs))...)
		s.ended[o] = []metric.RecordOption{metric.WithAttributeSet(set)}
	}
	return s
}

func addOptions(attrs []attribute.KeyValue) []metric.AddOption {
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attrs...))}
}

// measured is one operation under way.
type measured struct {
	op     *operation
	series *series
	span   trace.Span
	began  time.Time
}

// begin returns what is to be ended, and the context that has its span.
func (op *operation) begin(ctx context.Context, replica string) (context.Context, measured) {
	m := measured{op: op, series: op.series.get(replica), began: time.Now()}
	ctx, m.span = op.tracer.Start(ctx, op.spanName, op.start...)
	op.active.Add(ctx, 1, m.series.active...)
	return ctx, m
}

// end takes the context that begin returned, so that measurements can be traced,
// and what returns the attributes that a recorded span is to have besides. If that
// panics, as ErrorText may, the span ends all the same, and has the outcome.
func (m *measured) end(ctx context.Context, o outcome, describe func() []attribute.KeyValue) {
	m.op.active.Add(ctx, -1, m.series.active...)
	m.op.duration.Record(ctx, time.Since(m.began).Seconds(), m.series.ended[o]...)
	if !m.span.IsRecording() {
		m.span.End()
		return
	}
	if isFailure(o) {
		m.span.SetStatus(codes.Error, o.String())
	}
	var attrs []attribute.KeyValue
	defer func() { // not End itself, which would tell of the panic's value
		m.span.SetAttributes(o.addTo(attrs)...)
		m.span.End()
	}()
	attrs = describe()
}

// isFailure tells what a span is marked for. A caller's going away is not one:
// it says nothing of the service, and is how each loser of a hedge ends.
func isFailure(o outcome) bool { return o != ok && o != outcome(turret.Canceled) }
