package telemetry_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	telemetry "github.com/turretgo/turret/otel"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func build(t testing.TB, b signer.Builder) *signer.Signer {
	t.Helper()
	s, err := b.Build(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestOneCallInstrumentsAStack(t *testing.T) {
	b := newBackend(t)
	srv := kmstest.NewServer()
	defer srv.Close()
	keyID := srv.CreateKey(types.KeySpecEccNistP256)
	s := build(t, signer.NewBuilder(awskms.New(srv.Client(), keyID)).
		Defaults(signer.Defaults{}).
		Instrument(telemetry.Instrument(b.options("web"))))
	require.Equal(t, 1, strings.Count(turret.Describe(s), "telemetry web\n"), turret.Describe(s))
	require.True(t, strings.HasPrefix(turret.Describe(s), "signer"), turret.Describe(s))
	require.Contains(t, turret.Describe(s), "telemetry web\ntimeout 10s\nretry")
	require.Contains(t, turret.Describe(s), "telemetry web, attempts\nverify")

	_, err := s.SignMessage(nil, []byte("message"), crypto.SHA256)
	require.NoError(t, err)
	require.Len(t, b.exports.GetSpans(), 2)
	call, attempt := b.named("turret.call")[0], b.named("turret.attempt")[0]
	require.Equal(t, call.SpanContext.SpanID(), attempt.Parent.SpanID())
	for _, span := range []any{attr(call, "turret.signer.key_id"), attr(attempt, "turret.signer.key_id")} {
		require.Contains(t, span, keyID)
	}
	require.Equal(t, "ECDSA_SHA_256", attr(attempt, "turret.signer.algorithm"))
	require.Equal(t, "DIGEST", attr(attempt, "turret.signer.message_type"))
	points := b.points()
	require.Equal(t, 1.0, sum(points, "turret.call.duration"))
	require.Equal(t, 1.0, sum(points, "turret.attempt.duration"))
	for _, gauge := range []string{"turret.breaker.state", "turret.ratelimit.tokens", "turret.ratelimit.queue", "turret.retry.budget_left"} {
		require.NotEmpty(t, present(points, gauge, "turret.stack.name=web"), gauge)
	}
}

// Whatever is outermost: no layer at all, a timeout that nobody named, a fan-out.
func TestEveryStackIsInstrumentedOnce(t *testing.T) {
	srv := kmstest.NewServer()
	defer srv.Close()
	key := awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))
	for name, of := range map[string]func(signer.Builder) signer.Builder{
		"bare":             func(b signer.Builder) signer.Builder { return b.NoTimeout() },
		"default timeout":  func(b signer.Builder) signer.Builder { return b },
		"retry":            func(b signer.Builder) signer.Builder { return b.Retry(retry.Options{}) },
		"fan-out of one":   func(b signer.Builder) signer.Builder { return b.NoTimeout().Failover(failover.Options{}) },
		"layers above it":  func(b signer.Builder) signer.Builder { return b.Use(turret.Stack[signer.Request, signer.Response]()) },
		"several layers":   func(b signer.Builder) signer.Builder { return b.Defaults(signer.Defaults{}) },
		"several timeouts": func(b signer.Builder) signer.Builder { return b.Timeout(time.Minute).Timeout(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t)
			s := build(t, of(signer.NewBuilder(key)).Instrument(telemetry.Instrument(b.options("web"))))
			_, err := s.SignMessage(nil, []byte("message"), crypto.SHA256)
			require.NoError(t, err)
			require.Len(t, b.named("turret.call"), 1)
			require.Len(t, b.named("turret.attempt"), 1)
		})
	}
}

// A key may be a signer that is instrumented itself: each tells of its own.
func TestSignerBelowASignerKeepsItsTelemetry(t *testing.T) {
	b := newBackend(t)
	srv := kmstest.NewServer()
	defer srv.Close()
	instrument := telemetry.Instrument(b.options("both"))
	inner := build(t, signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))).
		RateLimit(ratelimit.Options{Rate: 7}).Instrument(instrument))
	outer := build(t, signer.NewBuilder(seeThrough(inner)).Retry(retry.Options{}).Instrument(instrument))
	_, err := outer.SignMessage(nil, []byte("message"), crypto.SHA256)
	require.NoError(t, err)
	require.Len(t, b.named("turret.call"), 2)
	require.Len(t, b.named("turret.attempt"), 2)
	_, err = inner.SignMessage(nil, []byte("message"), crypto.SHA256)
	require.NoError(t, err)
	require.Len(t, b.named("turret.call"), 3)
}

// seeThrough is a key that shows what it is made of.
func seeThrough(s *signer.Signer) signer.KeyProvider {
	return signer.KeyProviderFunc(func(context.Context) (signer.Key, error) {
		return transparent{signer.Wrap(s, signer.WrapOptions{}), s}, nil
	})
}

type transparent struct {
	signer.Key
	inner *signer.Signer
}

func (k transparent) Unwrap() []any { return []any{turret.Owned(k.inner)} }

func TestStacksAreToldApart(t *testing.T) {
	b := newBackend(t)
	srv := kmstest.NewServer()
	defer srv.Close()
	key := awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))
	shared := ratelimit.New(1000, 50)
	stack := func(name string) signer.Builder {
		return signer.NewBuilder(key).RateLimit(ratelimit.Options{Limiter: shared}).Instrument(telemetry.Instrument(b.options(name)))
	}
	web, release := stack("web"), stack("release")
	closed, err := web.Build(t.Context())
	require.NoError(t, err)
	build(t, web)
	build(t, release)

	points := b.points()
	require.Len(t, present(points, "turret.ratelimit.burst"), 3)
	require.Equal(t, 50.0, points["turret.ratelimit.burst{turret.stack.name=web}"])
	require.Equal(t, 50.0, points["turret.ratelimit.burst{turret.stack.name=web,turret.stack.number=2}"])
	require.Equal(t, 50.0, points["turret.ratelimit.burst{turret.stack.name=release}"])

	require.NoError(t, closed.Close())
	require.NoError(t, closed.Close())
	require.Len(t, present(b.points(), "turret.ratelimit.burst"), 2)
	again, err := web.Build(t.Context())
	require.NoError(t, err)
	points = b.points()
	require.Len(t, present(points, "turret.ratelimit.burst"), 3)
	require.Contains(t, points, "turret.ratelimit.burst{turret.stack.name=web}", "the number is free again")
	require.NoError(t, again.Close())
}

// As where a function of the program's makes each signer.
func TestStacksOfANameAreToldApartWhoeverInstrumentsThem(t *testing.T) {
	b := newBackend(t)
	limited := func(o telemetry.Options, burst int) service {
		svc := stack(o, fine, ratelimit.Layer[string, string](ratelimit.Options{Rate: 10, Burst: burst}))
		t.Cleanup(func() { require.NoError(t, turret.Close(svc)) })
		return svc
	}
	one := limited(b.options("web"), 3)
	limited(b.options("web"), 4)
	limited(b.options("release"), 5)
	limited(newBackend(t).options("web"), 6) // is nobody's business here
	bursts := func() map[string]float64 {
		found := make(map[string]float64)
		for point, value := range b.points() {
			if strings.HasPrefix(point, "turret.ratelimit.burst") {
				found[point] = value
			}
		}
		return found
	}
	require.Equal(t, map[string]float64{
		"turret.ratelimit.burst{turret.stack.name=web}":                       3,
		"turret.ratelimit.burst{turret.stack.name=web,turret.stack.number=2}": 4,
		"turret.ratelimit.burst{turret.stack.name=release}":                   5,
	}, bursts())
	require.NoError(t, turret.Close(one))
	limited(b.options("web"), 7)
	require.Equal(t, map[string]float64{
		"turret.ratelimit.burst{turret.stack.name=web}":                       7,
		"turret.ratelimit.burst{turret.stack.name=web,turret.stack.number=2}": 4,
		"turret.ratelimit.burst{turret.stack.name=release}":                   5,
	}, bursts())
}

func TestLayersOfAKindAreToldApart(t *testing.T) {
	b := newBackend(t)
	svc := stack(b.options("web"), fine,
		ratelimit.Layer[string, string](ratelimit.Options{Rate: 10, Burst: 3}),
		ratelimit.Layer[string, string](ratelimit.Options{Rate: 10, Burst: 4}))
	defer turret.Close(svc)
	points := b.points()
	require.Equal(t, 3.0, points["turret.ratelimit.burst{turret.stack.name=web}"])
	require.Equal(t, 4.0, points["turret.ratelimit.burst{turret.layer.number=2,turret.stack.name=web}"])
}

func TestClosedStackIsObservedNoMore(t *testing.T) {
	b := newBackend(t)
	svc := stack(b.options("web"), fine, ratelimit.Layer[string, string](ratelimit.Options{Rate: 10}))
	require.NotEmpty(t, present(b.points(), "turret.ratelimit.tokens"))
	require.NoError(t, turret.Close(svc))
	require.Empty(t, present(b.points(), "turret.ratelimit.tokens"))
	_, err := svc.Call(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 1.0, sum(b.points(), "turret.call.duration"))
}

func TestBuildingAndClosingRaceWithCollectingAndCalling(t *testing.T) {
	b := newBackend(t)
	layer := telemetry.Layer[string, string](b.options("web"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				svc := layer(ratelimit.Layer[string, string](ratelimit.Options{Rate: 1e6, Burst: 1000})(turret.ServiceFunc[string, string](fine)))
				svc.Call(context.Background(), "")
				turret.Close(svc)
			}
		})
	}
	for range 50 {
		b.collect()
	}
	wg.Wait()
	require.Equal(t, 200.0, sum(b.points(), "turret.call.duration"))
	require.Empty(t, present(b.points(), "turret.ratelimit.tokens"))
}

// What is recognised wherever it turns up. Digests are not printable as a rule,
// but nobody looks at what they are of.
const (
	secret       = "a message that nobody but the key's holder may see"
	secretDigest = "a digest that nobody else may see"
)

func TestNothingSecretIsExported(t *testing.T) {
	srv := kmstest.NewServer()
	defer srv.Close()
	for spec, message := range map[types.KeySpec]string{
		types.KeySpecEccNistP256:         secretDigest[:32],
		types.KeySpecEccNistEdwards25519: secret,
		types.KeySpecRsa2048:             secretDigest[:32],
	} {
		b := newBackend(t)
		s := build(t, signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(spec))).
			Retry(retry.Options{Backoff: retry.Backoff{Max: time.Millisecond}, MaxAttempts: 20}).
			Instrument(telemetry.Instrument(b.options("web"))))
		srv.Inject(kmstest.Faults{Seed: 1, Throttle: 0.3, Internal: 0.1, Corrupt: 0.2})
		var secrets [][]byte
		for range 10 {
			sig, err := s.Sign(nil, []byte(message), s.Algorithms()[0].SignerOpts())
			require.NoError(t, err)
			secrets = append(secrets, sig)
		}
		require.Greater(t, len(b.named("turret.attempt")), 10)
		requireUnseen(t, b.exported(), append(secrets, []byte(message))...)
	}
}

func requireUnseen(t *testing.T, everything string, secrets ...[]byte) {
	t.Helper()
	require.Contains(t, everything, "turret.signer.key_id", "the search looks where spans are")
	require.Contains(t, everything, "turret.attempt.duration", "and where metrics are")
	for _, s := range secrets {
		for _, form := range forms(s) {
			require.False(t, strings.Contains(everything, form), "exported: %q", form)
		}
	}
}

// A thousand signatures under faults, in virtual time; then a scrape.
func TestScrapeAgreesWithTheKMS(t *testing.T) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	require.NoError(t, err)
	b := newBackend(t, sdkmetric.WithReader(exporter))
	const calls = 1000
	digest := sha256.Sum256([]byte(secret))
	var stats, statsUS kmstest.Counts
	var signatures [][]byte
	var s *signer.Signer
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		us := srv.Replica("eu-west-1")
		key := awskms.MultiRegion(srv.CreateKey(types.KeySpecEccNistP256), srv.Client(), us.Client())
		var err error
		s, err = signer.NewBuilder(key).
			Defaults(signer.Defaults{Failover: failover.Options{Failures: failover.Never}}). // without copies of calls
			Instrument(telemetry.Instrument(b.options("web"))).
			Build(t.Context())
		require.NoError(t, err)
		faults := kmstest.Faults{
			Seed:     1,
			Throttle: 0.05, Internal: 0.05, Reset: 0.02, Hang: 0.01, Corrupt: 0.02,
			Latency: func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(30 * time.Millisecond))) },
		}
		srv.Inject(faults)
		faults.Seed = 2
		us.Inject(faults)
		var wg sync.WaitGroup
		var mu sync.Mutex
		for worker := range 8 {
			wg.Go(func() {
				for range calls / 8 {
					var sig []byte
					var err error
					if worker%2 == 0 {
						sig, err = s.SignMessage(nil, []byte(secret), crypto.SHA256)
					} else {
						sig, err = s.Sign(nil, digest[:], crypto.SHA256)
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					signatures = append(signatures, sig)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		stats, statsUS = srv.Stats().Op("Sign"), us.Stats().Op("Sign")
		require.NoError(t, err)
		t.Log("home:", stats, "away:", statsUS)
	})
	defer s.Close()

	web := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	defer web.Close()
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get(web.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(page)))
	require.NoError(t, err)

	// count adds up a family's series that have all these labels.
	count := func(family string, labels ...string) (total int) {
		require.Contains(t, families, family)
	series:
		for _, m := range families[family].Metric {
			for _, want := range labels {
				name, value, _ := strings.Cut(want, "=")
				found := ""
				for _, l := range m.Label {
					if l.GetName() == name {
						found = l.GetValue()
					}
				}
				if found != value {
					continue series
				}
			}
			total += int(m.GetHistogram().GetSampleCount()) + int(m.GetCounter().GetValue()) + int(m.GetGauge().GetValue())
		}
		return total
	}
	all := func(replica string, c kmstest.Counts) {
		attempts := func(labels ...string) int {
			return count("turret_attempt_duration_seconds", append(labels, "turret_replica="+replica)...)
		}
		require.Equal(t, c.Requests, attempts())
		require.Equal(t, c.OK, attempts("turret_outcome=ok"))
		require.Equal(t, c.Throttled, attempts("error_type=throttled"))
		require.Equal(t, c.Internal+c.Reset+c.Corrupt+c.Hung+c.Canceled, attempts("error_type=transient"))
		require.Positive(t, c.Throttled)
	}
	all("kms/eu-west-1", statsUS)
	require.Len(t, families["turret_attempt_duration_seconds"].Metric, 6)
	require.Equal(t, calls, count("turret_call_duration_seconds"))
	require.Equal(t, calls, count("turret_call_duration_seconds", "turret_outcome=ok", "turret_stack_name=web"))
	again := count("turret_events_total", "turret_event_kind=retry") + count("turret_events_total", "turret_event_kind=next")
	refused := count("turret_events_total", "turret_event_kind=refuse")
	require.Equal(t, stats.Requests+statsUS.Requests, calls+again-refused, "each attempt but the first has its event")
	require.Zero(t, count("turret_active_calls"))
	require.Zero(t, count("turret_active_attempts"))
	require.Equal(t, stats.Requests+statsUS.Requests, len(b.named("turret.attempt")))
	require.Len(t, b.named("turret.call"), calls)

	requireUnseen(t, string(page)+b.exported(), append(signatures[:100], []byte(secret), digest[:])...)
}

// forms are what bytes may look like in an export.
func forms(b []byte) []string {
	forms := []string{string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b))}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for skip := range 3 { // wherever in what is encoded they begin
			whole := b[skip:]
			forms = append(forms, e.EncodeToString(whole[:len(whole)/3*3]))
		}
	}
	return forms
}

// The same again where calls are hedged and everybody is told of everything.
func TestHedgesAcrossRegionsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		srv := kmstest.NewServer()
		defer srv.Close()
		us := srv.Replica("eu-west-1")
		key := awskms.MultiRegion(srv.CreateKey(types.KeySpecEccNistP256), srv.Client(), us.Client())
		s, err := signer.NewBuilder(key).
			Hedge(hedge.Options{Delay: 50 * time.Millisecond, Budget: hedge.NewBudget(1)}).
			Failover(failover.Options{Failures: failover.Never}).
			Timeout(time.Second).
			Instrument(telemetry.Instrument(b.options("web"))).
			Build(t.Context())
		require.NoError(t, err)
		defer s.Close()
		srv.Inject(kmstest.Faults{Hang: 1})
		_, err = s.SignMessage(nil, []byte(secret), crypto.SHA256)
		require.NoError(t, err)
		synctest.Wait()
		call, attempts := b.named("turret.call")[0], b.named("turret.attempt")
		require.Contains(t, events(call), "turret.hedge.hedge")
		require.Contains(t, events(call), "turret.hedge.win")
		require.Len(t, attempts, 2)
		replicas := map[any]any{}
		for _, a := range attempts {
			require.Equal(t, call.SpanContext.SpanID(), a.Parent.SpanID())
			replicas[attr(a, "turret.replica")] = attr(a, "turret.outcome")
		}
		require.Len(t, replicas, 2)
		require.Equal(t, "ok", replicas["kms/eu-west-1"])
	})
}
