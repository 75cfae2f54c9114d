package telemetry

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Options say what is told of a stack, and to whom. The zero Options are ready
// to use in a program with one stack.
type Options struct {
	// Name tells the stack from the program's others: it is the attribute
	// turret.stack.name of everything. Stacks of one name are counted together.
	// Without one there is no such attribute.
	Name string

	// TracerProvider makes the spans. Nil is OpenTelemetry's global one, whenever
	// it is set: a stack may be built before.
	TracerProvider trace.TracerProvider

	// MeterProvider makes the metrics. Nil is OpenTelemetry's global one, whenever
	// it is set.
	MeterProvider metric.MeterProvider

	// ErrorText, if set, returns what spans and their events tell of an error
	// beside its class, as the attribute error.message. Texts of errors quote
	// requests at times: where the service's errors are known to quote nothing
	// secret, error.Error tells all. Metrics never have it. A panic of it comes up
	// in the call, as those of hooks do, and ends the call's span.
	ErrorText func(err error) string
}

// Validate says what is wrong with o, if anything is.
func (o Options) Validate() error {
	if !utf8.ValidString(o.Name) {
		return fmt.Errorf("telemetry: the Name %q is not UTF-8; collectors refuse whole batches for it", o.Name)
	}
	return nil
}

// String is a layer's line in turret.Describe.
func (o Options) String() string { return strings.TrimSpace("telemetry " + o.Name) }
