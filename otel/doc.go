// Package telemetry tells OpenTelemetry what a stack does: in spans, in metrics
// and in the states of its layers.
package telemetry
