package layertest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/layertest"
	"github.com/turretgo/turret/middleware/retry"
)

var errDown = turret.WithClass(errors.New("down"), turret.Transient)

// recorder is a testing.TB that keeps what a test is failed for.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	texts    []string
	cleanups []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, fmt.Sprintf(format, args...))
}

func TestMockAnswersByItsScriptAndRecordsRequests(t *testing.T) {
	mock := layertest.NewMock[string, int](t).Respond(1, 2).Fail(errDown).Do(func(_ context.Context, req string) (int, error) {
		return len(req), nil
	})
	for _, want := range []int{1, 2} {
		got, err := mock.Call(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := mock.Call(t.Context(), "b")
	require.Equal(t, errDown, err)
	require.Equal(t, 1, mock.Left())
	got, err := mock.Call(t.Context(), "four")
	require.NoError(t, err)
	require.Equal(t, 4, got)
	require.Equal(t, []string{"a", "a", "b", "four"}, mock.Requests())
	require.Zero(t, mock.Left())
	require.Equal(t, "mock", turret.Describe(mock))
}

func TestMockRefusesCallsBeyondItsScript(t *testing.T) {
	r := &recorder{}
	mock := layertest.NewMock[string, int](r).Respond(1)
	_, err := mock.Call(t.Context(), "a")
	require.NoError(t, err)
	_, err = mock.Call(t.Context(), "b")
	require.ErrorIs(t, err, layertest.ErrBeyondScript)
	require.Equal(t, turret.Permanent, turret.Classify(err), "no layer tries again")
	require.Equal(t, []string{"layertest: the mock got call 2, with request b, and has no answer for it"}, r.texts)
	mock.Respond(7)
	got, err := mock.Call(t.Context(), "c")
	require.NoError(t, err)
	require.Equal(t, 7, got, "a script can be continued")
}

func TestMockReportsUnusedAnswersIfAsked(t *testing.T) {
	for _, tc := range []struct {
		calls int
		want  []string
	}{{1, []string{"layertest: the mock was called 1 times, and 1 answers of its script are left"}}, {2, nil}} {
		r := &recorder{}
		mock := layertest.NewMock[string, int](r).Respond(1, 2).MustUseAll()
		for range tc.calls {
			_, _ = mock.Call(t.Context(), "")
		}
		for _, f := range r.cleanups {
			f()
		}
		require.Equal(t, tc.want, r.texts)
	}
}

func TestMockHangsUntilItsContextIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := layertest.NewMock[int, int](t).Hang().Call(ctx, 1)
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, time.Minute, time.Since(start))
	})
}

func TestMockDelaysAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		mock := layertest.NewMock[int, int](t).After(time.Second).Respond(1, 2).Respond(3).After(time.Hour).Fail(errDown)
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 2 * time.Second} {
			got, err := mock.Call(t.Context(), 0)
			require.NoError(t, err)
			require.Equal(t, i+1, got)
			require.Equal(t, want, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := mock.Call(ctx, 0)
		require.Equal(t, context.DeadlineExceeded, err, "a context that ends first")
	})
}

func TestMockPanicsAndExits(t *testing.T) {
	mock := layertest.NewMock[int, int](t).Panic("ouch").Goexit()
	require.PanicsWithValue(t, "ouch", func() { _, _ = mock.Call(t.Context(), 1) })
	var went, returned bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { went = true }()
		_, _ = mock.Call(t.Context(), 1)
		returned = true
	})
	wg.Wait()
	require.True(t, went)
	require.False(t, returned)
}

func TestMockIsReadyUnlessToldOtherwise(t *testing.T) {
	mock := layertest.NewMock[int, int](t)
	require.NoError(t, turret.Ready(mock))
	mock.SetReady(errDown)
	require.Equal(t, errDown, turret.Ready(mock))
}

func TestMockIsSafeForConcurrentUse(t *testing.T) {
	mock := layertest.NewMock[int, int](t).MustUseAll()
	var wg sync.WaitGroup
	for n := range 64 {
		mock.Respond(n)
		wg.Go(func() {
			_, err := mock.Call(t.Context(), n)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, mock.Requests(), 64)
}

func TestNoGoroutineLeftShowsWhereOneIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, release := &recorder{}, make(chan struct{})
		layertest.NoGoroutineLeft(r)
		require.Empty(t, r.texts)
		go waitFor(release)
		layertest.NoGoroutineLeft(r)
		require.Len(t, r.texts, 1)
		require.Contains(t, r.texts[0], "layertest_test.waitFor")
		close(release)
		layertest.NoGoroutineLeft(t)
	})
}

func TestNoGoroutineLeftMayBeCalledByAnyGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		wg.Go(func() { layertest.NoGoroutineLeft(t) })
		wg.Wait()
	})
}

func waitFor(release <-chan struct{}) { <-release }

func ExampleMock() {
	t := &testing.T{} // a test's own
	mock := layertest.NewMock[string, int](t).Fail(errDown, errDown).Respond(7)
	svc := retry.Layer[string, int](retry.Options{Backoff: retry.Backoff{Max: time.Nanosecond}})(mock)

	fmt.Println(svc.Call(context.Background(), "x"))
	fmt.Println(mock.Requests())
	// Output:
	// 7 <nil>
	// [x x x]
}

// A conformance test is a line. What a layer does on purpose is said after it.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestConformance(t *testing.T)
		layertest.Run(t, retry.Layer[int, int](retry.Options{}), layertest.MayRepeat)
	}
}
