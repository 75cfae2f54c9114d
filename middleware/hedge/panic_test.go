package hedge_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/hedge"
)

// ends are ways for a call to end other than by returning.
var ends = map[string]func(){
	"panic":  func() { panic("boom") },
	"Goexit": runtime.Goexit,
}

// call makes a call in a goroutine of its own, and reports how that ended.
func call(t *testing.T, s service) (end string, took time.Duration) {
	end = "Goexit"
	start := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				assert.Equal(t, "boom", r)
				end = "panic"
			}
		}()
		got, err := s.Call(t.Context(), 1)
		assert.NoError(t, err)
		end = got
	})
	wg.Wait()
	return end, time.Since(start)
}

func TestAPanicOrGoexitComesUpInTheCaller(t *testing.T) {
	for want, do := range ends {
		for name, steps := range map[string][]step{
			"an original alone":              {{do: do}},
			"an original beside its hedge":   {{takes: 20 * ms, do: do}, {takes: time.Hour}},
			"a hedge beside its original":    {{takes: time.Hour}, {takes: 10 * ms, do: do}},
			"a hedge whose original failed ": {{takes: 15 * ms, err: errDown}, {takes: 10 * ms, do: do}},
		} {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: steps}
				end, took := call(t, wrap(s, hedge.Options{Delay: 10 * ms, Budget: every()}))
				require.Equal(t, want, end, name)
				require.LessOrEqual(t, took, 20*ms, name)
			})
		}
	}
}

func TestALosersPanicOrGoexitIsNobodys(t *testing.T) {
	for _, do := range ends {
		synctest.Test(t, func(t *testing.T) {
			var once sync.Once
			s := &script{steps: []step{{takes: time.Hour}}}
			lose := afterAnError(func() { once.Do(do) })
			end, _ := call(t, wrap(lose(s), hedge.Options{Delay: 10 * ms, Budget: every()}))
			require.Equal(t, "hedge 1", end)
			synctest.Wait()
		})
	}
}

// afterAnError does something after each call that failed.
func afterAnError(do func()) turret.Layer[int, string] {
	return turret.LayerFunc("after an error", func(ctx context.Context, req int, next service) (string, error) {
		resp, err := next.Call(ctx, req)
		if err != nil {
			do()
		}
		return resp, err
	})
}
