package telemetry

import (
	"context"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/turretgo/turret"
)

// eventKey is what tells one series of events from another. Who an event
// concerns, and what was before it, is for spans: it may have many values.
type eventKey struct {
	layer   string
	kind    turret.EventKind
	replica string
	err     outcome // ok where there is none
}

// observe returns ctx for a call whose events are to be counted, and told of by
// span. Where nobody listens it is ctx itself.
func (t *telemetry) observe(ctx context.Context, span trace.Span) context.Context {
	if span.IsRecording() {
		return turret.WithObserver(ctx, func(ctx context.Context, e turret.Event) {
			t.countEvent(ctx, e)
			t.addEvent(ctx, span, e)
		})
	}
	if t.events.Enabled(ctx) {
		return turret.WithObserver(ctx, t.count)
	}
	return ctx
}

func (t *telemetry) countEvent(ctx context.Context, e turret.Event) {
	t.events.Add(ctx, 1, t.seen.get(keyOf(ctx, e))...)
}

func keyOf(ctx context.Context, e turret.Event) eventKey {
	key := eventKey{layer: e.Layer, kind: e.Kind, replica: turret.Replica(ctx), err: ok}
	if e.Err != nil {
		key.err = failed(turret.Outcome(ctx, e.Err))
	}
	return key
}

func (t *telemetry) eventOptions(key eventKey) []metric.AddOption {
	return addOptions(key.addTo(slices.Clip(t.stack)))
}

func (key eventKey) addTo(attrs []attribute.KeyValue) []attribute.KeyValue {
	attrs = addText(attrs, keyLayer, key.layer)
	attrs = addText(attrs, keyEvent, string(key.kind))
	attrs = addText(attrs, keyReplica, key.replica)
	if key.err != ok {
		attrs = append(attrs, keyErrorType.String(key.err.String()))
	}
	return attrs
}

// addEvent does nothing once the span has ended, as when a call that a hedge
// outran fails later on.
func (t *telemetry) addEvent(ctx context.Context, span trace.Span, e turret.Event) {
	if !span.IsRecording() {
		return
	}
	attrs := keyOf(ctx, e).addTo(nil)
	attrs = addText(attrs, keySubject, e.Name)
	attrs = addText(attrs, keyFrom, e.From)
	attrs = addText(attrs, keyTo, e.To)
	attrs = t.addErrorText(attrs, e.Err)
	if e.Count != 0 {
		attrs = append(attrs, keyCount.Int(e.Count))
	}
	if e.Delay != 0 {
		attrs = append(attrs, keyDelay.Float64(e.Delay.Seconds()))
	}
	span.AddEvent(eventName(e), trace.WithAttributes(attrs...))
}

// eventName is such as turret.breaker.change.
func eventName(e turret.Event) string {
	name := strings.ReplaceAll("turret."+e.Layer+"."+string(e.Kind), " ", "_")
	return strings.ToValidUTF8(name, "\uFFFD")
}
