package hedge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/fallback"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// notes are what calls wrote down, sorted.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) write(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notes) sorted() []string { return slices.Sorted(slices.Values(n.lines)) }

var exactly10ms = retry.Backoff{Min: 10 * ms, Max: 10 * ms, Jitter: retry.NoJitter}

func TestUnderAHedgeEachRetryCountsItsOwnAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen notes
		start := time.Now()
		failing := turret.ServiceFunc[int, string](func(ctx context.Context, _ int) (string, error) {
			seen.write("%v: attempt %d", time.Since(start), turret.Attempt(ctx))
			return "", errDown
		})
		stack := turret.Stack(
			hedge.Layer[int, string](hedge.Options{Delay: 15 * ms, Budget: every()}),
			retry.Layer[int, string](retry.Options{MaxAttempts: 3, Backoff: exactly10ms}),
		)(failing)
		_, err := stack.Call(t.Context(), 1)
		require.ErrorIs(t, err, errDown)
		require.Equal(t, []string{
			"0s: attempt 1", "10ms: attempt 2", "15ms: attempt 1", "20ms: attempt 3", "25ms: attempt 2", "35ms: attempt 3",
		}, seen.sorted())
	})
}

func TestUnderARetryOriginalAndHedgeAreTheSameAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen notes
		start := time.Now()
		failing := turret.ServiceFunc[int, string](func(ctx context.Context, _ int) (string, error) {
			seen.write("%v: attempt %d", time.Since(start), turret.Attempt(ctx))
			<-time.After(15 * ms)
			return "", errDown
		})
		stack := turret.Stack(
			retry.Layer[int, string](retry.Options{MaxAttempts: 2, Backoff: exactly10ms}),
			hedge.Layer[int, string](hedge.Options{Delay: 10 * ms, Budget: every()}),
		)(failing)
		_, err := stack.Call(t.Context(), 1)
		require.ErrorIs(t, err, errDown)
		require.Equal(t, []string{
			"0s: attempt 1", "10ms: attempt 1", "35ms: attempt 2", "45ms: attempt 2",
		}, seen.sorted())
	})
}

// replica is one of several behind a fan-out.
type replica struct {
	name  string
	takes time.Duration
	err   error
	calls int
}

func (r *replica) Call(ctx context.Context, _ int) (string, error) {
	r.calls++
	if err := after(ctx, r.takes); err != nil {
		return "", err
	}
	return r.name, r.err
}

// fan sends a call to the first replica that it may have, and on to the next.
type fan []*replica

func (f fan) Call(ctx context.Context, req int) (resp string, err error) {
	err = of(turret.Rejected)
	for _, r := range f {
		if !turret.Claim(ctx, r) {
			continue
		}
		if resp, err = r.Call(ctx, req); err == nil {
			return resp, nil
		}
	}
	return resp, err
}

func TestAHedgeGoesToAnotherReplica(t *testing.T) {
	o := hedge.Options{Delay: 10 * ms, MaxHedges: 2, Budget: hedge.NewBudget(2)}
	synctest.Test(t, func(t *testing.T) {
		east, west := &replica{name: "east", takes: time.Hour}, &replica{name: "west"}
		got, err := wrap(fan{east, west}, o).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "west", got)
		require.Equal(t, []int{1, 1}, []int{east.calls, west.calls})
	})
	synctest.Test(t, func(t *testing.T) { // not even where one fails
		east, west := &replica{takes: 15 * ms, err: errDown}, &replica{takes: 15 * ms, err: errDown}
		_, err := wrap(fan{east, west}, o).Call(t.Context(), 1)
		require.ErrorIs(t, err, errDown)
		require.Equal(t, []int{1, 1}, []int{east.calls, west.calls})
	})
	synctest.Test(t, func(t *testing.T) { // but the next call may have all
		east, west := &replica{name: "east"}, &replica{name: "west"}
		s := wrap(fan{east, west}, o)
		for range 2 {
			got, err := s.Call(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, "east", got)
		}
	})
}

// balance sends a call to the replica that is the fastest as far as it knows.
type balance struct {
	replicas []*replica
	mu       sync.Mutex
	latency  map[*replica]time.Duration
}

func (b *balance) pick(ctx context.Context) *replica {
	b.mu.Lock()
	defer b.mu.Unlock()
	byLatency := func(x, y *replica) int { return int(b.latency[x] - b.latency[y]) }
	for _, r := range slices.SortedStableFunc(slices.Values(b.replicas), byLatency) {
		if turret.Claim(ctx, r) {
			return r
		}
	}
	return b.replicas[0]
}

func (b *balance) Call(ctx context.Context, req int) (string, error) {
	r, start := b.pick(ctx), time.Now()
	resp, err := r.Call(ctx, req)
	took := time.Since(start)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.latency[r] = took
	case context.Cause(ctx) == turret.ErrOutrun:
		b.latency[r] = max(b.latency[r], took)
	}
	return resp, err
}

func TestAReplicaThatIsAlwaysHedgedAwayCountsAsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, well := &replica{takes: time.Hour}, &replica{takes: 5 * ms}
		b := &balance{replicas: []*replica{hung, well}, latency: make(map[*replica]time.Duration)}
		s := wrap(b, hedge.Options{Delay: 20 * ms, Budget: every()})
		for range 10 {
			_, err := s.Call(t.Context(), 1)
			require.NoError(t, err)
			synctest.Wait() // the loser's goroutine still takes its time down
		}
		require.Equal(t, 1, hung.calls)
		require.Equal(t, 25*ms, b.latency[hung])
		require.Equal(t, 5*ms, b.latency[well])
	})
}

func TestWhatAHedgeSaysThatFoundEveryReplicaAskedAndThenAnotherServiceIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var claim int
		var asked atomic.Int64
		errs := []error{errors.New("stale"), errors.New("gone")}
		only := turret.ServiceFunc[int, string](func(ctx context.Context, _ int) (string, error) {
			if !turret.Claim(ctx, &claim) {
				return "", turret.ErrTaken
			}
			return "", after(ctx, time.Hour)
		})
		other := turret.ServiceFunc[int, string](func(context.Context, int) (string, error) {
			return "", errs[asked.Add(1)-1]
		})
		stack := turret.Stack(
			hedge.Layer[int, string](hedge.Options{Delay: 10 * ms, Budget: every()}),
			fallback.Layer(fallback.Options[int, string]{Service: other}),
			timeout.Layer[int, string](30*ms),
		)(only)
		_, err := stack.Call(t.Context(), 1)
		require.EqualValues(t, 2, asked.Load())
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorIs(t, err, errs[0])
		require.ErrorIs(t, err, errs[1])
	})
}

func TestACallThatFoundEveryReplicaAskedByOthersSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wrap(&script{steps: []step{{err: turret.ErrTaken}}}, hedge.Options{Delay: 10 * ms, Budget: every()})
		_, err := s.Call(t.Context(), 1)
		require.Equal(t, turret.ErrTaken, err)

		late := &script{steps: []step{{takes: 20 * ms, err: turret.ErrTaken}, {takes: 20 * ms, err: turret.ErrTaken}}}
		_, err = wrap(late, hedge.Options{Delay: 10 * ms, Budget: every()}).Call(t.Context(), 1)
		require.Equal(t, turret.ErrTaken, err, "the last one answers for both")
	})
}

func TestOfSeveralThatFoundEveryReplicaAskedNothingIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := errors.Join(turret.ErrTaken, fmt.Errorf("twice: %w", turret.ErrTaken))
		s := &script{steps: []step{{takes: 20 * ms, err: errDown}, {err: taken}}}
		_, err := wrap(s, hedge.Options{Delay: 10 * ms, Budget: every()}).Call(t.Context(), 1)
		require.Equal(t, errDown, err)
		require.Equal(t, 2, s.count())
	})
}
