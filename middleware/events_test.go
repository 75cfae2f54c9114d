package middleware_test

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/buffer"
	"github.com/turretgo/turret/middleware/chaos"
	"github.com/turretgo/turret/middleware/coalesce"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/fallback"
	"github.com/turretgo/turret/middleware/filter"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/loadshed"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/reconnect"
	"github.com/turretgo/turret/middleware/recovery"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/steer"
	"github.com/turretgo/turret/middleware/throttle"
)

// Each layer in a situation in which it has all to say that it ever has. A request
// is how many milliseconds the service is to take; it fails those that are odd.
var talkative = []struct {
	layer layer
	calls [][]int // those of a list at the same time
}{
	{retry.Layer[int, int](retry.Options{}), [][]int{{1}}},
	{turret.Stack(hedge.Layer[int, int](hedge.Options{Delay: time.Second, Budget: hedge.NewBudget(1)}), hangsOnce), [][]int{{2}}},
	{func(s service) service {
		return failover.New(failover.Options{Failures: 1, Names: []string{"home"}}, s, well)
	}, [][]int{{1}, {2}}},
	{func(s service) service { return balance.New(balance.Options{}, s, well) }, repeated(20)},
	{func(service) service { return balance.New[int, int](balance.Options{}) }, [][]int{{2}}},
	{breaker.Layer[int, int](gobreaker.Settings{Name: "kms"}), repeated(10)},
	{ratelimit.Layer[int, int](ratelimit.Options{Rate: 1, Burst: 1, MaxWait: time.Second}), [][]int{{2, 2, 2}}},
	{func(service) service {
		return ratelimit.Layer[int, int](ratelimit.Options{Rate: 1})(balance.New[int, int](balance.Options{})) // of nobody
	}, [][]int{{2}}},
	{concurrency.Layer[int, int](concurrency.Options{Max: 1, MaxQueue: 1}), [][]int{{2, 2, 2}}},
	{adaptive.Layer[int, int](adaptive.Options{Initial: 1, Max: 1, MaxQueue: 1}), [][]int{{2, 2, 2}}},
	{buffer.Layer[int, int](buffer.Options{Capacity: 1}), [][]int{{2, 2, 2}}},
	{throttle.Layer[int, int](throttle.Options{Refused: func(error, turret.Class) bool { return true }, Rand: func() float64 { return 0 }}), repeated(2)},
	{loadshed.Layer[int, int](loadshed.Options{Check: func(context.Context) error { return errDown }}), [][]int{{2}}},
	{filter.Layer[int, int](func(context.Context, int) (int, error) { return 0, errDown }), [][]int{{2}}},
	{func(s service) service {
		return steer.New(func(context.Context, int) string { return "nobody" }, map[string]service{"a": s})
	}, [][]int{{2}}},
	{fallback.Layer[int, int](fallback.Options[int, int]{Service: well}), [][]int{{1}}},
	{coalesce.Layer[int, int, int](func(n int) int { return n }), [][]int{{2, 2}}},
	{func(s service) service {
		refuses := true
		return reconnect.New(reconnect.Options{}, func(context.Context) (service, error) {
			<-time.After(time.Millisecond)
			if refuses = !refuses; refuses {
				return nil, errDown
			}
			return s, nil
		})
	}, repeated(4)},
	{recovery.Layer[int, int](recovery.Options{}), [][]int{{-1}}},
	{turret.Stack(recovered, chaos.Layer[int, int](chaos.Options{ErrorRate: 0.5, PanicRate: 0.5})), repeated(10)},
}

var ailing turret.ServiceFunc[int, int] = func(ctx context.Context, n int) (int, error) {
	if n < 0 {
		panic("negative")
	}
	select {
	case <-time.After(time.Duration(n) * time.Millisecond):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if n%2 != 0 {
		return 0, errDown
	}
	return n, nil
}

var well turret.ServiceFunc[int, int] = func(_ context.Context, n int) (int, error) { return n, nil }

// recovered keeps the panics below it to itself, and reports nothing.
func recovered(next service) service {
	return turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		defer func() { _ = recover() }()
		return next.Call(ctx, n)
	})
}

// hangsOnce does not answer the first call.
func hangsOnce(next service) service {
	var called atomic.Bool
	return turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
		if !called.Swap(true) {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		return next.Call(ctx, n)
	})
}

// repeated is n calls, one after the other, that fail, and after a while as many
// that do not.
func repeated(n int) (calls [][]int) {
	for i := range 2 * n {
		calls = append(calls, []int{1 + i/n})
	}
	return calls
}

// TestEventsAreWhatTheirTableSays holds the layers to the table in the comment of
// turret.Event: each reports the kinds of events that it says, with the fields that
// it says, and none besides.
func TestEventsAreWhatTheirTableSays(t *testing.T) {
	reported := make(map[string]map[string]bool)
	var mu sync.Mutex
	observe := func(_ context.Context, e turret.Event) {
		mu.Lock()
		defer mu.Unlock()
		fields := reported[e.Layer+" "+string(e.Kind)]
		if fields == nil {
			fields = make(map[string]bool)
			reported[e.Layer+" "+string(e.Kind)] = fields
		}
		for field, set := range map[string]bool{
			"Name": e.Name != "", "Count": e.Count != 0, "Delay": e.Delay != 0, "Err": e.Err != nil, "From": e.From != "", "To": e.To != "",
		} {
			if set {
				fields[field] = true
			}
		}
	}
	for _, tc := range talkative {
		synctest.Test(t, func(t *testing.T) {
			svc, ctx := tc.layer(ailing), turret.WithObserver(t.Context(), observe)
			for i, calls := range tc.calls {
				if i == len(tc.calls)/2 {
					<-time.After(time.Hour) // whoever recovers has
				}
				var all sync.WaitGroup
				for _, n := range calls {
					all.Go(func() { _, _ = svc.Call(ctx, n) })
				}
				all.Wait()
			}
			synctest.Wait() // for probes
			<-time.After(time.Minute)
			require.NoError(t, turret.Close(svc))
		})
	}
	got := make(map[string]string)
	for event, fields := range reported {
		got[event] = strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
	}
	require.Equal(t, eventTable(t), got)
}

// eventTable reads the table in the source of package turret: the fields in
// alphabetical order, by layer and kind.
func eventTable(t *testing.T) map[string]string {
	t.Helper()
	source, err := os.ReadFile("../observe.go")
	require.NoError(t, err)
	table := make(map[string]string)
	for line := range strings.Lines(string(source)) {
		row, ok := strings.CutPrefix(line, "//\t")
		if !ok || strings.HasPrefix(row, "Layer ") {
			continue
		}
		columns := strings.Fields(strings.ReplaceAll(row, "fall back", "fall_back"))
		fields := strings.FieldsFunc(strings.Join(columns[2:], ""), func(r rune) bool { return r == ',' })
		slices.Sort(fields)
		table[columns[0]+" "+strings.ReplaceAll(columns[1], "_", " ")] = strings.Join(fields, ", ")
	}
	require.Greater(t, len(table), 20)
	return table
}
