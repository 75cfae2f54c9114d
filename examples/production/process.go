package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/turretgo/turret/debug"
	"github.com/turretgo/turret/middleware/ratelimit"
	telemetry "github.com/turretgo/turret/otel"
	fleet "github.com/turretgo/turret/redis"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// faults are what the KMS does wrong: a tenth of the time, something.
var faults = kmstest.Faults{
	Seed:     1,
	Latency:  func(r *mathrand.Rand) time.Duration { return time.Duration(r.IntN(4)) * time.Millisecond },
	Throttle: 0.05,
	Internal: 0.03,
	Reset:    0.01,
	Corrupt:  0.01,
	Hang:     0.0005,
}

// process is what runs: the signer, those who watch it, and what it stands on.
type process struct {
	kms     *kmstest.Server
	key     *signer.Signer
	limiter *fleet.Limiter
	spans   *spanCounts
	server  *http.Server
	url     string
	ends    []func() error // in reverse order
}

// start makes a process that serves at listener. The limit is kept in the Redis at
// an address, or in one of its own.
func start(ctx context.Context, listener net.Listener, redisAddress string) (_ *process, err error) {
	p := &process{kms: kmstest.NewServer(), spans: newSpanCounts(), url: "http://" + listener.Addr().String()}
	p.ends = append(p.ends, func() error { p.kms.Close(); return nil }, listener.Close)
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if redisAddress == "" {
		own, err := miniredis.Run()
		if err != nil {
			return nil, err
		}
		p.ends = append(p.ends, func() error { own.Close(); return nil })
		redisAddress = own.Addr()
	}
	client := redis.NewClient(&redis.Options{Addr: redisAddress, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	p.limiter = fleet.NewLimiter(fleet.LimiterOptions{
		Client:     client,
		Key:        "turret-example/kms/ecc",
		Rate:       20_000, // as much as the example can use
		Replicas:   1,
		OnFallback: func(err error) { slog.Warn("signing at our own share of the quota", "error", err) },
		OnRecover:  func(after time.Duration) { slog.Info("sharing the quota again", "after", after) },
	})
	p.ends = append(p.ends, client.Close, p.limiter.Close)

	registry := prometheus.NewRegistry()
	metrics, err := exporter.New(exporter.WithRegisterer(registry))
	if err != nil {
		return nil, err
	}
	meters := metric.NewMeterProvider(metric.WithReader(metrics))
	traces := trace.NewTracerProvider(trace.WithSyncer(p.spans))
	p.ends = append(p.ends, func() error { return meters.Shutdown(context.WithoutCancel(ctx)) })
	p.ends = append(p.ends, func() error { return traces.Shutdown(context.WithoutCancel(ctx)) })

	p.key, err = signer.NewBuilder(awskms.New(p.kms.Client(), p.kms.CreateKey(types.KeySpecEccNistP256))).
		Defaults(signer.Defaults{
			Timeout:        time.Minute,
			AttemptTimeout: 5 * time.Second, // so long that no attempt ends on its way to the KMS, which could not count it
			Rate:           ratelimit.Options{Limiter: p.limiter},
		}).
		Instrument(telemetry.Instrument(telemetry.Options{Name: "web", TracerProvider: traces, MeterProvider: meters})).
		Build(ctx)
	if err != nil {
		return nil, err
	}
	p.ends = append(p.ends, p.key.Close)
	p.kms.Inject(faults)

	mux := http.NewServeMux()
	mux.Handle("GET /debug/turret", debug.Handler(map[string]any{"web": p.key}))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- p.server.Serve(listener) }()
	p.ends[1] = func() error { // the server's listener from now on
		err := p.server.Close()
		<-served
		return err
	}
	return p, nil
}

// close ends what start began, the last first.
func (p *process) close() (err error) {
	for i := len(p.ends) - 1; i >= 0; i-- {
		err = errors.Join(err, p.ends[i]())
	}
	return err
}

// sign makes so many signatures, sixteen at a time, each with a pause after it.
func (p *process) sign(ctx context.Context, signatures int, pause time.Duration) {
	var left atomic.Int64
	left.Store(int64(signatures))
	var signers sync.WaitGroup
	for range 16 {
		signers.Go(func() {
			digest := make([]byte, crypto.SHA256.Size())
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				rand.Read(digest)
				if _, err := p.key.SignContext(ctx, nil, digest, crypto.SHA256); err != nil && ctx.Err() == nil {
					slog.Error("not signed", "error", err)
				}
				select {
				case <-time.After(pause):
				case <-ctx.Done():
				}
			}
		})
	}
	signers.Wait()
}
