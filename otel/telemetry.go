package telemetry

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/turretgo/turret"
)

// scope is what tracers and meters are asked for by.
const scope = "github.com/turretgo/turret/otel"

// How many replicas, and how many kinds of events, are told apart.
const (
	maxReplicas = 100
	maxEvents   = 1000
)

// Seconds: from a key in the next rack to a caller's last hope.
var buckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// telemetry is what the layers of one instrumentation share.
type telemetry struct {
	Options
	stack    []attribute.KeyValue
	calls    operation
	attempts operation
	events   metric.Int64Counter
	seen     bounded[eventKey, []metric.AddOption]
	count    func(context.Context, turret.Event) // countEvent, made once
	states   states
}

func newTelemetry(o Options) *telemetry {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	family := familyOf(o)
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	t := &telemetry{Options: o, stack: addText(nil, keyStack, o.Name)}
	tracer, meter := o.TracerProvider.Tracer(scope), o.MeterProvider.Meter(scope)
	t.calls = operation{
		tracer:   tracer,
		spanName: "turret.call",
		start:    t.spanStart(trace.SpanKindInternal),
		duration: histogram(meter, "turret.call.duration", "How long calls took that went through the stack."),
		active:   upDown(meter, "turret.active_calls", "{call}", "Calls that are in the stack."),
	}
	t.attempts = operation{
		tracer:   tracer,
		spanName: "turret.attempt",
		start:    t.spanStart(trace.SpanKindClient),
		duration: histogram(meter, "turret.attempt.duration", "How long calls took that the stack made of the service, one for each attempt."),
		active:   upDown(meter, "turret.active_attempts", "{attempt}", "Calls of the service that are under way."),
	}
	t.calls.init(t.stack)
	t.attempts.init(t.stack)
	t.events = counter(meter, "turret.events", "{event}", "What layers did about calls.")
	t.seen = bounded[eventKey, []metric.AddOption]{limit: maxEvents, make: t.eventOptions, rest: addOptions(t.overflow())}
	t.count = t.countEvent
	t.states = states{meter: meter, stack: t.stack, family: family}
	return t
}

func (t *telemetry) spanStart(kind trace.SpanKind) []trace.SpanStartOption {
	return []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(t.stack...)}
}

func (t *telemetry) overflow() []attribute.KeyValue {
	return append(slices.Clip(t.stack), keyOverflow.Bool(true))
}

// An instrument that the meter refuses to make is no reason not to sign.
// OpenTelemetry's error handler is told, and what measures does nothing.

func histogram(meter metric.Meter, name, description string) metric.Float64Histogram {
	h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(buckets...))
	handle(err)
	if h == nil {
		return noop.Float64Histogram{}
	}
	return h
}

func counter(meter metric.Meter, name, unit, description string) metric.Int64Counter {
	c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	handle(err)
	if c == nil {
		return noop.Int64Counter{}
	}
	return c
}

func upDown(meter metric.Meter, name, unit, description string) metric.Int64UpDownCounter {
	c, err := meter.Int64UpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	handle(err)
	if c == nil {
		return noop.Int64UpDownCounter{}
	}
	return c
}

func handle(err error) {
	if err != nil {
		otel.Handle(err)
	}
}
