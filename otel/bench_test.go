package telemetry_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/turretgo/turret"
	telemetry "github.com/turretgo/turret/otel"
	"github.com/turretgo/turret/signer"
)

// What telemetry costs a call, with one attempt each. Instrument is that of a
// stack of six layers which do nothing.
func BenchmarkTelemetry(b *testing.B) {
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	recorded := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(dropped{}))
	unsampled := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(dropped{}), sdktrace.WithSampler(sdktrace.NeverSample()))
	for _, c := range []struct {
		name   string
		traces trace.TracerProvider
		meters metric.MeterProvider
	}{
		{"noop", tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider()},
		{"metrics", tracenoop.NewTracerProvider(), meters},
		{"metrics, unsampled spans", unsampled, meters},
		{"metrics, sampled spans", recorded, meters},
	} {
		o := telemetry.Options{Name: c.name, TracerProvider: c.traces, MeterProvider: c.meters}
		b.Run("layers/"+c.name, func(b *testing.B) {
			run(b, around(telemetry.Layer[signer.Request, signer.Response](o), telemetry.AttemptLayer[signer.Request, signer.Response](o)))
		})
		b.Run("instrument/"+c.name, func(b *testing.B) { run(b, instrumented(telemetry.Instrument(o))) })
	}
	b.Run("none", func(b *testing.B) { run(b, around()) })
	b.Run("instrument/none", func(b *testing.B) { run(b, instrumented(func(string) signer.Layer { return nil })) })
}

func run(b *testing.B, svc signer.Service) {
	defer turret.Close(svc)
	ctx, req := context.Background(), signer.Request{Algorithm: "ECDSA_SHA_256", MessageType: signer.Digest, Message: make([]byte, 32)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := svc.Call(ctx, req); err != nil {
			b.Fatal(err)
		}
	}
}

func around(layers ...signer.Layer) signer.Service {
	return turret.Stack(layers...)(turret.ServiceFunc[signer.Request, signer.Response](func(context.Context, signer.Request) (signer.Response, error) {
		return signer.Response{KeyID: "arn:aws:kms:eu-west-1:111122223333:key/1234"}, nil
	}))
}

func instrumented(instrument func(string) signer.Layer) signer.Service {
	pass := turret.LayerFunc("pass", func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
		return next.Call(ctx, req)
	})
	var layers []signer.Layer
	for _, name := range []string{"timeout", "retry", "failover", "ratelimit", "breaker", "timeout"} {
		layers = append(layers, instrument(name), pass)
	}
	return around(append(layers, instrument("key"))...)
}

// dropped is an exporter that costs nothing.
type dropped struct{ sdktrace.SpanProcessor }

func (dropped) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (dropped) OnEnd(sdktrace.ReadOnlySpan)                     {}
