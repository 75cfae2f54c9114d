package telemetry_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/retry"
	telemetry "github.com/turretgo/turret/otel"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// One call instruments a signer. The KMS is down for one attempt.
func ExampleInstrument() {
	ctx := context.Background()
	srv := kmstest.NewServer()
	defer srv.Close()
	provider := awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))

	spans := tracetest.NewInMemoryExporter() // yours sends them somewhere
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	defer traces.Shutdown(ctx)

	key, err := signer.NewBuilder(provider).
		Retry(retry.Options{OnRetry: func(context.Context, retry.Event) { srv.Inject(kmstest.Faults{}) }}).
		Instrument(telemetry.Instrument(telemetry.Options{Name: "web", TracerProvider: traces})).
		Build(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer key.Close()
	srv.Inject(kmstest.Faults{Down: true})
	if _, err := key.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
		log.Fatal(err)
	}

	for _, span := range spans.GetSpans() {
		fmt.Print(span.Name)
		for _, a := range span.Attributes {
			if a.Key == "turret.attempt" || a.Key == "turret.outcome" {
				fmt.Print(" ", a.Value.String())
			}
		}
		for _, e := range span.Events {
			fmt.Print(", ", e.Name)
		}
		fmt.Println()
	}
	// Output:
	// turret.attempt 1 transient
	// turret.attempt 2 ok
	// turret.call ok, turret.retry.retry
}

// A stack of one's own has two layers for telemetry.
func ExampleLayer() {
	ctx := context.Background()
	reader := sdkmetric.NewManualReader() // yours is Prometheus's, say
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer meters.Shutdown(ctx)

	o := telemetry.Options{Name: "files", MeterProvider: meters}
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, telemetry.Layer, o)
	b = turret.With(b, retry.Layer, retry.Options{MaxAttempts: 3, Backoff: retry.Backoff{Max: time.Millisecond}})
	b = turret.With(b, telemetry.AttemptLayer, o)
	svc := b.ServiceFunc(func(context.Context, string) (string, error) { return "", errors.New("no route") })
	defer turret.Close(svc)
	svc.Call(ctx, "motd")

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &collected); err != nil {
		log.Fatal(err)
	}
	for _, scope := range collected.ScopeMetrics {
		for _, m := range scope.Metrics {
			if data, ok := m.Data.(metricdata.Histogram[float64]); ok {
				outcome, _ := data.DataPoints[0].Attributes.Value("turret.outcome")
				fmt.Println(m.Name, outcome.AsString(), data.DataPoints[0].Count)
			}
		}
	}
	// Output:
	// turret.call.duration unknown 1
	// turret.attempt.duration unknown 3
}
