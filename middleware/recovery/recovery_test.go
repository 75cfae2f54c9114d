package recovery_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/recovery"
	"github.com/turretgo/turret/middleware/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type service = turret.Service[int, int]

func wrap(o recovery.Options, inner func(context.Context, int) (int, error)) service {
	return turret.With(turret.NewBuilder[int, int](), recovery.Layer, o).ServiceFunc(inner)
}

func echo(_ context.Context, n int) (int, error) { return n, nil }

// explode panics with value. Stacks are searched for its name.
//
//go:noinline
func explode(value any) { panic(value) }

// panics is a service that panics with value.
func panics(value any) func(context.Context, int) (int, error) {
	return func(context.Context, int) (int, error) { explode(value); return 1, nil }
}

// caught is the error of a call that panics with value.
func caught(t *testing.T, value any) *recovery.Error {
	t.Helper()
	resp, err := wrap(recovery.Options{}, panics(value)).Call(t.Context(), 1)
	require.Zero(t, resp)
	var e *recovery.Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, recovery.ErrPanic)
	return e
}

func TestPanicBecomesAnErrorWithItsStack(t *testing.T) {
	e := caught(t, 42)
	require.Equal(t, 42, e.Value)
	require.Contains(t, string(e.Stack), "recovery_test.explode", "the stack is that of the panic")
	require.NoError(t, errors.Unwrap(e))
}

func TestResultsPassUnchanged(t *testing.T) {
	boom := errors.New("boom")
	s := wrap(recovery.Options{}, func(_ context.Context, n int) (int, error) { return n, boom })
	resp, err := s.Call(t.Context(), 7)
	require.Equal(t, 7, resp)
	require.Equal(t, boom, err)
}

func TestErrorIsOneLineThatSaysWhereAndWhat(t *testing.T) {
	for _, value := range []any{"out of cheese", "out of cheese\nand of bread\n", errors.New("out of cheese")} {
		require.Regexp(t, `\Arecovery: panic in \S+/recovery_test\.explode \(recovery_test\.go:\d+\): out of cheese\z`, caught(t, value).Error())
	}
	require.EqualError(t, &recovery.Error{Value: "made by hand"}, "recovery: panic: made by hand")
}

func TestErrorSaysWhereARuntimeErrorHappened(t *testing.T) {
	for want, bug := range map[string]func(int){
		"index out of range":     func(n int) { _ = make([]int, 1)[n] },
		"nil pointer":            func(int) { var e *recovery.Error; _ = *e },
		"integer divide by zero": func(n int) { _ = 1 / (n - 3) },
	} {
		_, err := wrap(recovery.Options{}, func(_ context.Context, n int) (int, error) { bug(n); return n, nil }).Call(t.Context(), 3)
		require.Regexp(t, `panic in \S+TestErrorSaysWhereARuntimeErrorHappened\.func\d \(recovery_test\.go:\d+\): runtime error: .*`+want, err)
		require.ErrorAs(t, err, new(runtime.Error))
	}
}

func TestErrorSaysWhereItPanickedFirstWhenALayerPanicsAgain(t *testing.T) {
	b := turret.With(turret.NewBuilder[int, int](), recovery.Layer, recovery.Options{})
	b = turret.With(b, breaker.Layer, gobreaker.Settings{}) // recovers, counts and panics again
	_, err := b.ServiceFunc(panics("boom")).Call(t.Context(), 1)
	require.ErrorContains(t, err, "recovery_test.explode (")
}

func TestErrorSaysNothingOfAPanicFurtherUp(t *testing.T) {
	defer func() {
		require.Equal(t, "outer", recover())
	}()
	defer func() {
		_, err := wrap(recovery.Options{}, panics("inner")).Call(t.Context(), 1)
		require.ErrorContains(t, err, "recovery_test.explode (")
	}()
	panic("outer")
}

func TestErrorsIsAndAsGoThroughAPanickedError(t *testing.T) {
	cause := fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: "key.pem", Err: fs.ErrNotExist})
	e := caught(t, cause)
	require.ErrorIs(t, e, fs.ErrNotExist)
	require.ErrorAs(t, e, new(*fs.PathError))
	require.ErrorIs(t, caught(t, http.ErrAbortHandler), http.ErrAbortHandler, "for who is at the top")
}

func TestClassIsUnknownUnlessThePanickedErrorHasOne(t *testing.T) {
	for _, tc := range []struct {
		value any
		want  turret.Class
	}{
		{"text", turret.Unknown},
		{errors.New("error"), turret.Unknown},
		{turret.WithClass(errors.New("error"), turret.Permanent), turret.Permanent},
		{turret.WithClass(errors.New("error"), turret.Throttled), turret.Throttled},
		{context.Canceled, turret.Transient}, // the caller has not gone
	} {
		require.Equal(t, tc.want, turret.Outcome(t.Context(), caught(t, tc.value)), "%v", tc.value)
	}
}

func TestPanicAfterTheCallerHasGoneIsStillABug(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := wrap(recovery.Options{}, panics("boom")).Call(ctx, 1)
	require.Equal(t, turret.Unknown, turret.Outcome(ctx, err), "not put down to the caller's going")
}

func TestPanicCountsInTheBreakerAbove(t *testing.T) {
	br := breaker.New(gobreaker.Settings{})
	s := turret.Stack(breaker.Share[int, int](br), recovery.Layer[int, int](recovery.Options{}))(turret.ServiceFunc[int, int](panics("boom")))
	_, err := s.Call(t.Context(), 1)
	require.ErrorIs(t, err, recovery.ErrPanic)
	require.EqualValues(t, 1, br.Counts().TotalFailures)
}

func TestPanicIsRetriedAbove(t *testing.T) {
	calls := 0
	b := turret.With(turret.NewBuilder[int, int](), retry.Layer, retry.Options{Backoff: retry.Backoff{Min: 1, Max: 1}})
	b = turret.With(b, recovery.Layer, recovery.Options{})
	resp, err := b.ServiceFunc(func(_ context.Context, n int) (int, error) {
		if calls++; calls == 1 {
			explode("a race")
		}
		return n, nil
	}).Call(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, 7, resp)
}

func TestGoexitIsNoPanicAndGoesOn(t *testing.T) {
	heard, returned := false, false
	s := wrap(recovery.Options{OnPanic: func(context.Context, *recovery.Error) { heard = true }},
		func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil })
	var done sync.WaitGroup
	done.Go(func() {
		_, _ = s.Call(context.Background(), 1)
		returned = true
	})
	done.Wait()
	require.False(t, returned)
	require.False(t, heard)
}

func TestPanicNilIsNoSuccess(t *testing.T) {
	e := caught(t, nil)
	require.IsType(t, new(runtime.PanicNilError), e.Value)

	t.Setenv("GODEBUG", "panicnil=1")
	require.Nil(t, caught(t, nil).Value)
}

func TestOnPanicHears(t *testing.T) {
	type key struct{}
	var heard *recovery.Error
	o := recovery.Options{OnPanic: func(ctx context.Context, e *recovery.Error) {
		require.Equal(t, "tenant", ctx.Value(key{}))
		heard = e
	}}
	ctx := context.WithValue(t.Context(), key{}, "tenant")
	_, err := wrap(o, panics("boom")).Call(ctx, 1)
	require.Same(t, err, heard)

	heard = nil
	_, err = wrap(o, echo).Call(ctx, 1)
	require.NoError(t, err)
	require.Nil(t, heard, "and only then")
}

func TestManyPanicsAtOnceAreEachCallersOwn(t *testing.T) {
	var heard atomic.Int64
	s := wrap(recovery.Options{OnPanic: func(context.Context, *recovery.Error) { heard.Add(1) }},
		func(_ context.Context, n int) (int, error) { panic(n) })
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			_, err := s.Call(context.Background(), n)
			if e, ok := errors.AsType[*recovery.Error](err); !ok || e.Value != n {
				t.Errorf("call %d: %v", n, err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 64, heard.Load())
}

func TestValidate(t *testing.T) {
	require.NoError(t, recovery.Options{}.Validate())
}

func TestDescribe(t *testing.T) {
	require.Equal(t, "recovery\nfunc", turret.Describe(wrap(recovery.Options{}, echo)))
}

func TestSuccessAllocatesNothing(t *testing.T) {
	s, ctx := wrap(recovery.Options{OnPanic: func(context.Context, *recovery.Error) {}}, echo), t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Call(ctx, 1) }))
}

func ExampleLayer() {
	b := turret.NewBuilder[[]string, string]()
	b = turret.With(b, recovery.Layer, recovery.Options{
		OnPanic: func(_ context.Context, e *recovery.Error) {
			// A log would get all of e.Stack.
			fmt.Println("has a stack:", strings.HasPrefix(string(e.Stack), "goroutine"))
		},
	})
	first := b.ServiceFunc(func(_ context.Context, names []string) (string, error) {
		return names[0], nil
	})

	fmt.Println(first.Call(context.Background(), []string{"Ada"}))

	_, err := first.Call(context.Background(), nil)
	var panicked *recovery.Error
	if errors.As(err, &panicked) {
		fmt.Println(panicked.Value)
	}
	// Output:
	// Ada <nil>
	// has a stack: true
	// runtime error: index out of range [0] with length 0
}

func BenchmarkLayer(b *testing.B) {
	bench(b, wrap(recovery.Options{}, echo))
}

// BenchmarkHandwritten is what one writes without the layer.
func BenchmarkHandwritten(b *testing.B) {
	var next service = turret.ServiceFunc[int, int](echo)
	bench(b, turret.ServiceFunc[int, int](func(ctx context.Context, n int) (resp int, err error) {
		defer func() {
			if value := recover(); value != nil {
				err = fmt.Errorf("panic: %v", value)
			}
		}()
		return next.Call(ctx, n)
	}))
}

func bench(b *testing.B, s service) {
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Call(ctx, 1); err != nil {
			b.Fatal(err)
		}
	}
}
