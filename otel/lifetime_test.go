package telemetry_test

import (
	"context"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/throttle"
	"github.com/turretgo/turret/middleware/timeout"
	telemetry "github.com/turretgo/turret/otel"
)

func TestClosedStackIsNotKeptAlive(t *testing.T) {
	b := newBackend(t)
	layer := telemetry.Layer[string, string](b.options("web"))
	gone := func() weak.Pointer[leaf] {
		leaf := new(leaf)
		svc := layer(ratelimit.Layer[string, string](ratelimit.Options{Rate: 10})(leaf))
		require.NotEmpty(t, present(b.points(), "turret.ratelimit.tokens"))
		require.NoError(t, turret.Close(svc))
		return weak.Make(leaf)
	}()
	deadline := time.Now().Add(10 * time.Second)
	for gone.Value() != nil && time.Now().Before(deadline) {
		runtime.GC()
	}
	require.Nil(t, gone.Value())
	runtime.KeepAlive(layer)
}

func TestCallbackIsRegisteredWhileThereAreStacks(t *testing.T) {
	meters := new(countingMeters)
	layer := telemetry.Layer[string, string](telemetry.Options{MeterProvider: meters})
	limited := func() service {
		return layer(ratelimit.Layer[string, string](ratelimit.Options{Rate: 10})(turret.ServiceFunc[string, string](fine)))
	}
	bare := layer(turret.ServiceFunc[string, string](fine))
	require.Zero(t, meters.registered, "there is nothing to observe")
	one, two := limited(), limited()
	require.Equal(t, 1, meters.registered)
	require.NoError(t, turret.Close(one))
	require.NoError(t, turret.Close(bare))
	require.Equal(t, 1, meters.registered)
	require.NoError(t, turret.Close(two))
	require.Zero(t, meters.registered)
	three := limited()
	require.Equal(t, 1, meters.registered)
	require.NoError(t, turret.Close(three))
	require.Zero(t, meters.registered)
}

// countingMeters count the callbacks that are registered.
type countingMeters struct {
	noop.MeterProvider
	registered int
}

func (m *countingMeters) Meter(string, ...metric.MeterOption) metric.Meter {
	return countingMeter{all: m}
}

type countingMeter struct {
	noop.Meter
	all *countingMeters
}

func (m countingMeter) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	m.all.registered++
	return countingRegistration{all: m.all}, nil
}

type countingRegistration struct {
	noop.Registration
	all *countingMeters
}

func (r countingRegistration) Unregister() error { r.all.registered--; return nil }

// leaf is a service that has an address of its own.
type leaf struct{ answer *string }

func (l *leaf) Call(context.Context, string) (string, error) { return *l.answer, nil }

// A layer of somebody's own may be broken. The rest is told as ever, of this and of
// other stacks, and the SDK's goroutine goes on.
func TestStateThatPanicsIsAnErrorAndNoMore(t *testing.T) {
	complain := otel.GetErrorHandler()
	defer otel.SetErrorHandler(complain)
	var said []string
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { said = append(said, err.Error()) }))

	b := newBackend(t)
	below := ratelimit.Layer[string, string](ratelimit.Options{Rate: 10})(turret.ServiceFunc[string, string](fine))
	svc := telemetry.Layer[string, string](b.options("web"))(broken{below, []any{below}})
	defer turret.Close(svc)
	require.NotEmpty(t, present(b.points(), "turret.ratelimit.tokens"))
	require.Len(t, said, 2, "once when it was made, once when it was collected")
	for _, text := range said {
		require.Equal(t, "telemetry: the State of telemetry_test.broken panicked: out of order", text)
	}
}

type broken struct {
	service
	below []any
}

func (broken) State() slog.Attr { panic("out of order") }
func (b broken) Unwrap() []any  { return b.below }

// The package comment lists what there is.
func TestDocumentationNamesEverything(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	keys, err := os.ReadFile("attributes.go")
	require.NoError(t, err)
	found := regexp.MustCompile(`attribute\.Key\("([^"]+)"\)`).FindAllStringSubmatch(string(keys), -1)
	require.Greater(t, len(found), 15)
	for _, key := range found {
		require.Contains(t, string(doc), key[1])
	}

	// Every layer that has a state, and every key of it.
	b := newBackend(t)
	svc := stack(b.options("all"), fine,
		retry.Layer[string, string](retry.Options{Budget: retry.NewBudget(0.1, 1)}),
		hedge.Layer[string, string](hedge.Options{}),
		concurrency.Layer[string, string](concurrency.Options{Max: 1}),
		adaptive.Layer[string, string](adaptive.Options{}),
		throttle.Layer[string, string](throttle.Options{}),
		ratelimit.Layer[string, string](ratelimit.Options{Rate: 1}),
		breaker.Layer[string, string](gobreaker.Settings{}),
		timeout.LearningLayer[string, string](timeout.Learning{Min: 1, Max: 2}))
	defer turret.Close(svc)
	for point := range b.points() {
		name, _, _ := strings.Cut(point, "{")
		_, layerAndKey, _ := strings.Cut(name, ".")
		layer, key, _ := strings.Cut(layerAndKey, ".")
		require.Contains(t, string(doc), "turret."+layer+".")
		require.True(t, strings.Contains(string(doc), name) || key != "" && strings.Contains(string(doc), key), name)
	}
}

// Programs build their stacks first, and set OpenTelemetry up later. That can be
// done once a process: where this test runs again, it is done already.
func TestGlobalProvidersMayBeSetLater(t *testing.T) {
	svc := stack(telemetry.Options{Name: "early"}, fine, ratelimit.Layer[string, string](ratelimit.Options{Rate: 10}))
	b := global()
	b.t = t
	calls := func() int { return len(b.named("turret.call")) }
	before, counted := calls(), sum(b.points(), "turret.call.duration")
	_, err := svc.Call(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, before+1, calls())
	require.Equal(t, counted+1, sum(b.points(), "turret.call.duration"))
	require.NotEmpty(t, present(b.points(), "turret.ratelimit.tokens"))
	require.NoError(t, turret.Close(svc))
	require.Empty(t, present(b.points(), "turret.ratelimit.tokens"))
}

// global sets OpenTelemetry's global providers to a backend's.
var global = sync.OnceValue(func() *backend {
	b := makeBackend()
	otel.SetTracerProvider(b.traces)
	otel.SetMeterProvider(b.meters)
	return b
})
