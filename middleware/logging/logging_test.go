package logging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/logging"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type service = turret.Service[string, string]

// written is a logger and the lines it wrote, without their time.
type written struct{ bytes.Buffer }

func (w *written) logger(level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: noTime}))
}

func noTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func (w *written) lines() []string {
	return strings.Split(strings.TrimSuffix(w.String(), "\n"), "\n")
}

func wrap(o logging.Options, inner func(context.Context, string) (string, error)) service {
	return turret.With(turret.NewBuilder[string, string](), logging.Layer, o).ServiceFunc(inner)
}

func echo(_ context.Context, req string) (string, error) { return req, nil }

func fail(err error) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return "", err }
}

// takes is a service that answers after d.
func takes(d time.Duration) func(context.Context, string) (string, error) {
	return func(_ context.Context, req string) (string, error) { <-time.After(d); return req, nil }
}

var errBusy = turret.WithClass(errors.New("busy"), turret.Throttled)

func TestSuccessIsLoggedAtDebugWithAttemptAndDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w written
		resp, err := wrap(logging.Options{Logger: w.logger(slog.LevelDebug)}, takes(31*time.Millisecond)).Call(t.Context(), "hello")
		require.NoError(t, err)
		require.Equal(t, "hello", resp)
		require.Equal(t, []string{`level=DEBUG msg="call succeeded" attempt=1 duration=31ms`}, w.lines())
	})
}

func TestFailureIsLoggedAtWarnWithItsClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			err  error
			want string
		}{
			{errors.New("who knows"), "unknown"},
			{errBusy, "throttled"},
			{turret.WithClass(io.EOF, turret.Transient), "transient"},
			{turret.WithClass(io.EOF, turret.Permanent), "permanent"},
			{turret.WithClass(io.EOF, turret.Rejected), "rejected"},
			{context.Canceled, "transient"}, // the service's doing: the caller waits
		} {
			var w written
			_, err := wrap(logging.Options{Logger: w.logger(slog.LevelInfo), Name: "kms"}, fail(tc.err)).Call(t.Context(), "")
			require.Equal(t, tc.err, err, "it comes back unchanged")
			require.Equal(t, []string{`level=WARN msg="call failed" layer=kms attempt=1 duration=0s class=` + tc.want}, w.lines())
		}
	})
}

func TestCallerGoneIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w written
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hang := func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		_, err := wrap(logging.Options{Logger: w.logger(slog.LevelDebug)}, hang).Call(ctx, "")
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, []string{`level=DEBUG msg="call canceled" attempt=1 duration=1s class=canceled`}, w.lines())
	})
}

func TestTimeoutBelowIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w written
		b := turret.With(turret.NewBuilder[string, string](), logging.Layer, logging.Options{Logger: w.logger(slog.LevelInfo)})
		b = turret.With(b, timeout.Layer, time.Second)
		_, err := b.ServiceFunc(func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() }).Call(t.Context(), "")
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, []string{`level=WARN msg="call failed" attempt=1 duration=1s class=transient`}, w.lines())
	})
}

func TestEachAttemptIsLoggedBelowARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w written
		b := turret.With(turret.NewBuilder[string, string](), retry.Layer, retry.Options{})
		b = turret.With(b, logging.Layer, logging.Options{Logger: w.logger(slog.LevelDebug)})
		calls := 0
		_, err := b.ServiceFunc(func(_ context.Context, req string) (string, error) {
			if calls++; calls < 3 {
				return "", errBusy
			}
			return req, nil
		}).Call(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, []string{
			`level=WARN msg="call failed" attempt=1 duration=0s class=throttled`,
			`level=WARN msg="call failed" attempt=2 duration=0s class=throttled`,
			`level=DEBUG msg="call succeeded" attempt=3 duration=0s`,
		}, w.lines())
	})
}

func TestSlowSuccessIsLoggedAsAFailureIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w written
		o := logging.Options{Logger: w.logger(slog.LevelInfo), Slow: time.Second}
		_, _ = wrap(o, takes(time.Second-1)).Call(t.Context(), "")
		require.Empty(t, w.String())
		_, _ = wrap(o, takes(time.Second)).Call(t.Context(), "")
		require.Equal(t, []string{`level=WARN msg="call was slow" attempt=1 duration=1s`}, w.lines())
	})
}

func TestLevelsAreAsSetAndMayChange(t *testing.T) {
	var w written
	var success slog.LevelVar
	s := wrap(logging.Options{Logger: w.logger(slog.LevelInfo), Success: &success, Failure: slog.LevelError}, func(_ context.Context, req string) (string, error) {
		if req == "fail" {
			return "", errBusy
		}
		return req, nil
	})
	_, _ = s.Call(t.Context(), "")
	_, _ = s.Call(t.Context(), "fail")
	success.Set(slog.LevelDebug)
	_, _ = s.Call(t.Context(), "")
	lines := w.lines()
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], "level=INFO")
	require.Contains(t, lines[1], "level=ERROR")
}

func TestSuccessIsLoggedWithFailuresOff(t *testing.T) {
	var w written
	s := wrap(logging.Options{Logger: w.logger(slog.LevelInfo), Success: slog.LevelInfo, Failure: slog.LevelDebug}, echo)
	_, _ = s.Call(t.Context(), "")
	require.Contains(t, w.String(), "call succeeded")
}

// secretive is an error that quotes the request.
type secretive struct{ Digest string }

func (e secretive) Error() string { return "cannot sign " + e.Digest }

func TestNeverAMessageADigestARequestOrAResponse(t *testing.T) {
	var w written
	o := logging.Options{Logger: w.logger(slog.LevelDebug - 4), Name: "signer", Slow: 1}
	for _, inner := range []func(context.Context, string) (string, error){
		echo,
		func(_ context.Context, req string) (string, error) { return req, secretive{req} },
		func(_ context.Context, req string) (string, error) { <-time.After(time.Microsecond); return req, nil },
		func(_ context.Context, req string) (string, error) { panic(req) },
	} {
		func() {
			defer func() { _ = recover() }()
			_, _ = wrap(o, inner).Call(t.Context(), "c0ffee")
		}()
	}
	require.Len(t, w.lines(), 4)
	require.NotContains(t, w.String(), "c0ffee")
}

func TestErrorTextIsLoggedOnlyWhereAskedFor(t *testing.T) {
	var w written
	o := logging.Options{Logger: w.logger(slog.LevelInfo), ErrorText: error.Error}
	_, _ = wrap(o, fail(errBusy)).Call(t.Context(), "")
	require.Contains(t, w.String(), "class=throttled error=busy\n")

	// A handler gets the text alone: JSON would show every field of an error.
	buf := new(bytes.Buffer)
	o = logging.Options{Logger: slog.New(slog.NewJSONHandler(buf, nil)), ErrorText: func(error) string { return "redacted" }}
	_, _ = wrap(o, fail(secretive{"c0ffee"})).Call(t.Context(), "")
	require.Contains(t, buf.String(), `"error":"redacted"`)
	require.NotContains(t, buf.String(), "c0ffee")
}

func TestAttrsAreAddedToRecordsThatAreWritten(t *testing.T) {
	type key struct{}
	var w written
	asked := 0
	o := logging.Options{Logger: w.logger(slog.LevelInfo), Attrs: func(ctx context.Context) []slog.Attr {
		asked++
		return []slog.Attr{slog.Any("tenant", ctx.Value(key{}))}
	}}
	ctx := context.WithValue(t.Context(), key{}, "acme")
	_, _ = wrap(o, fail(errBusy)).Call(ctx, "")
	require.Contains(t, w.String(), "class=throttled tenant=acme\n")
	_, _ = wrap(o, echo).Call(ctx, "")
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, _ = wrap(o, fail(gone.Err())).Call(gone, "")
	require.Equal(t, 1, asked, "but not to others")
}

func TestHandlerGetsTheCallsContext(t *testing.T) {
	type key struct{}
	h := &spy{}
	_, _ = wrap(logging.Options{Logger: slog.New(h)}, fail(errBusy)).Call(context.WithValue(t.Context(), key{}, "trace"), "")
	require.Equal(t, "trace", h.ctx.Value(key{}))
}

// spy is a handler that keeps the context it was given last.
type spy struct{ ctx context.Context }

func (*spy) Enabled(context.Context, slog.Level) bool          { return true }
func (h *spy) Handle(ctx context.Context, _ slog.Record) error { h.ctx = ctx; return nil }
func (h *spy) WithAttrs([]slog.Attr) slog.Handler              { return h }
func (h *spy) WithGroup(string) slog.Handler                   { return h }

func TestWithoutALoggerItIsTheDefaultOfTheTime(t *testing.T) {
	s := wrap(logging.Options{}, fail(errBusy))
	before := slog.Default()
	defer slog.SetDefault(before)
	var w written
	slog.SetDefault(w.logger(slog.LevelInfo))
	_, _ = s.Call(t.Context(), "")
	require.Contains(t, w.String(), "call failed")
}

func TestPanicIsLoggedAndGoesOnAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w written
		defer func() {
			require.Equal(t, "out of cheese", recover())
			require.Equal(t, []string{`level=WARN msg="call panicked or exited" attempt=1 duration=0s`}, w.lines())
		}()
		_, _ = wrap(logging.Options{Logger: w.logger(slog.LevelInfo)}, func(context.Context, string) (string, error) { panic("out of cheese") }).Call(t.Context(), "")
	})
}

func TestGoexitIsLoggedAndGoesOn(t *testing.T) {
	var w written
	s := wrap(logging.Options{Logger: w.logger(slog.LevelInfo)}, func(context.Context, string) (string, error) { runtime.Goexit(); return "", nil })
	var done sync.WaitGroup
	came := false
	done.Go(func() { _, _ = s.Call(context.Background(), ""); came = true })
	done.Wait()
	require.False(t, came)
	require.Contains(t, w.String(), "call panicked or exited")
}

func TestManyCallsAtOnceAreLoggedOnceEach(t *testing.T) {
	var w written
	s := wrap(logging.Options{Logger: w.logger(slog.LevelDebug)}, echo)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 10 {
				_, _ = s.Call(context.Background(), "")
			}
		})
	}
	all.Wait()
	require.Len(t, w.lines(), 640)
}

func TestValidate(t *testing.T) {
	require.NoError(t, logging.Options{}.Validate())
	require.NoError(t, logging.Options{Slow: time.Second}.Validate())
	err := logging.Options{Slow: -time.Second}.Validate()
	require.EqualError(t, err, "logging: Slow is -1s; it is how long a call may take before it is logged as slow, or 0 for as long as it likes")
	require.PanicsWithError(t, err.Error(), func() { logging.Layer[string, string](logging.Options{Slow: -time.Second}) })
}

func TestDescribe(t *testing.T) {
	require.Equal(t, "logging\nfunc", turret.Describe(wrap(logging.Options{}, echo)))
	require.Equal(t, "logging kms, slow from 2s\nfunc", turret.Describe(wrap(logging.Options{Name: "kms", Slow: 2 * time.Second}, echo)))
}

// at is a logger that writes nowhere from level on.
func at(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: level}))
}

func TestWithItsLevelOffACallAllocatesNothing(t *testing.T) {
	for name, s := range map[string]service{
		"success off": wrap(logging.Options{Logger: at(slog.LevelInfo), Name: "kms", Slow: time.Minute}, echo),
		"both off":    wrap(logging.Options{Logger: at(slog.LevelError), Name: "kms"}, fail(errBusy)),
		"discarded":   wrap(logging.Options{Logger: slog.New(slog.DiscardHandler)}, echo),
	} {
		ctx := t.Context()
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Call(ctx, "") }), name)
	}
}

func ExampleLayer() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "duration" { // not the same twice
			return slog.Attr{}
		}
		return a
	}}))
	calls := 0
	b := turret.NewBuilder[string, string]()
	b = turret.With(b, retry.Layer, retry.Options{Backoff: retry.Backoff{Min: time.Millisecond}})
	b = turret.With(b, logging.Layer, logging.Options{
		Logger:    logger,
		Name:      "greeter",
		Success:   slog.LevelInfo,
		ErrorText: error.Error,
	})
	greet := b.ServiceFunc(func(_ context.Context, name string) (string, error) {
		if calls++; calls == 1 {
			return "", errors.New("connection reset")
		}
		return "hello " + name, nil
	})

	fmt.Println(greet.Call(context.Background(), "Ada"))
	// Output:
	// level=WARN msg="call failed" layer=greeter attempt=1 class=unknown error="connection reset"
	// level=INFO msg="call succeeded" layer=greeter attempt=2
	// hello Ada <nil>
}

// BenchmarkLayer is a success that is not logged, as Debug is off.
func BenchmarkLayer(b *testing.B) {
	bench(b, wrap(logging.Options{Logger: at(slog.LevelInfo), Name: "kms"}, echo))
}

func BenchmarkLayerBothOff(b *testing.B) {
	bench(b, wrap(logging.Options{Logger: at(slog.LevelError), Name: "kms"}, echo))
}

func BenchmarkLayerLogged(b *testing.B) {
	bench(b, wrap(logging.Options{Logger: at(slog.LevelDebug), Name: "kms"}, echo))
}

// BenchmarkHandwritten is what one writes without the layer, to be compared with
// BenchmarkLayer.
func BenchmarkHandwritten(b *testing.B) {
	logger := at(slog.LevelInfo)
	var next service = turret.ServiceFunc[string, string](echo)
	bench(b, turret.ServiceFunc[string, string](func(ctx context.Context, req string) (string, error) {
		start := time.Now()
		resp, err := next.Call(ctx, req)
		if err != nil {
			logger.WarnContext(ctx, "call failed", "attempt", turret.Attempt(ctx), "duration", time.Since(start), "class", turret.Outcome(ctx, err))
		} else {
			logger.DebugContext(ctx, "call succeeded", "attempt", turret.Attempt(ctx), "duration", time.Since(start))
		}
		return resp, err
	}))
}

func bench(b *testing.B, s service) {
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Call(ctx, "hello"); err != nil {
			b.Fatal(err)
		}
	}
}
