package hedge_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/timeout"
)

const ms = time.Millisecond

func TestFastOriginalSendsNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{takes: 9 * ms}}}
		got, err := wrap(s, hedge.Options{Delay: 10 * ms, Budget: every()}).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "original", got)
		<-time.After(time.Hour)
		require.Equal(t, 1, s.count())
	})
}

func TestAfterTheDelayOneMoreIsSentAndTheFirstSuccessWins(t *testing.T) {
	for name, tc := range map[string]struct {
		original, hedge, want time.Duration
	}{
		"hedge 1":  {time.Hour, 5 * ms, 15 * ms},
		"original": {12 * ms, 5 * ms, 12 * ms},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []step{{takes: tc.original}, {takes: tc.hedge}}}
			start := time.Now()
			got, err := wrap(s, hedge.Options{Delay: 10 * ms, Budget: every()}).Call(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, name, got)
			require.Equal(t, tc.want, time.Since(start))
			require.Equal(t, 2, s.count())
			require.Equal(t, 10*ms, s.calls[1].at.Sub(start))
		})
	}
}

func TestAFailureBesideAHedgeSendsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{takes: 20 * ms, err: errDown}, {takes: 40 * ms}}}
		got, err := wrap(s, hedge.Options{Delay: 10 * ms, Budget: hedge.NewBudget(10)}).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "hedge 1", got)
		require.Equal(t, 2, s.count())
	})
}

func TestFurtherHedgesAreADelayApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{takes: time.Hour}, {takes: time.Hour}, {takes: 25 * ms}}}
		start := time.Now()
		got, err := wrap(s, hedge.Options{Delay: 10 * ms, MaxHedges: 2, Budget: hedge.NewBudget(2)}).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "hedge 2", got)
		require.Equal(t, 45*ms, time.Since(start))
		require.Equal(t, 3, s.count(), "and no more than MaxHedges")
	})
}

func TestAHedgeThatFailsWhenTheNextIsDueDoesNotTakeItsPlace(t *testing.T) {
	for range 200 { // which of the two is seen first is chance
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []step{{takes: time.Hour}, {takes: 10 * ms, err: errDown}, {takes: ms}}}
			start := time.Now()
			got, err := wrap(s, hedge.Options{Delay: 10 * ms, MaxHedges: 2, Budget: hedge.NewBudget(2)}).Call(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, "hedge 2", got)
			require.Equal(t, 21*ms, time.Since(start))
		})
	}
}

func TestLosersAreCancelledAndTheirGoroutinesEndSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{takes: time.Hour}, {takes: time.Hour}, {}}}
		start := time.Now()
		_, err := wrap(s, hedge.Options{Delay: 10 * ms, MaxHedges: 2, Budget: hedge.NewBudget(2)}).Call(t.Context(), 1)
		require.NoError(t, err)
		for _, loser := range s.calls[:2] {
			<-loser.ended
			require.Equal(t, turret.ErrOutrun, context.Cause(loser.ctx))
		}
		require.Equal(t, 20*ms, time.Since(start))
		require.NoError(t, t.Context().Err(), "the caller's own context lives")
	}) // which fails while a goroutine is left
}

func TestALoserThatDoesNotListenHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		deaf := turret.ServiceFunc[int, string](func(context.Context, int) (string, error) {
			if calls.Add(1) == 1 {
				<-time.After(time.Hour)
			}
			return "ok", nil
		})
		start := time.Now()
		_, err := wrap(deaf, hedge.Options{Delay: 10 * ms, Budget: every()}).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, 10*ms, time.Since(start))
		<-time.After(2 * time.Hour) // its result finds room
	})
}

func TestTheWinnersContextLivesUntilItReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		var lived error
		s := turret.ServiceFunc[int, *[]byte](func(ctx context.Context, _ int) (*[]byte, error) {
			if calls.Add(1) == 1 {
				return nil, after(ctx, time.Hour)
			}
			err := after(ctx, time.Second)
			lived = ctx.Err()
			return &[]byte{1, 2, 3}, err
		})
		got, err := hedge.Layer[int, *[]byte](hedge.Options{Delay: 10 * ms, Budget: every()})(s).Call(t.Context(), 1)
		require.NoError(t, err)
		require.NoError(t, lived)
		synctest.Wait()
		require.Equal(t, []byte{1, 2, 3}, *got, "its result stays usable after Call returned")
	})
}

func TestAnErrorFromOneLeavesTheOtherRunning(t *testing.T) {
	for name, steps := range map[string][]step{
		"hedge 1":  {{takes: 20 * ms, err: errDown}, {takes: time.Second}},
		"original": {{takes: time.Second}, {err: errDown}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: steps}
			got, err := wrap(s, hedge.Options{Delay: 10 * ms, Budget: every()}).Call(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, name, got)
		})
	}
}

func TestAnOriginalThatFailsBeforeTheDelayIsNotHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{takes: 9 * ms, err: errDown}}}
		_, err := wrap(s, hedge.Options{Delay: 10 * ms, Budget: every()}).Call(t.Context(), 1)
		require.Same(t, errDown, err, "and its error comes back unchanged")
		require.Equal(t, 1, s.count())
	})
}

func TestAPermanentAnswerFromAnyEndsItAtOnce(t *testing.T) {
	denied := of(turret.Permanent)
	for name, steps := range map[string][]step{
		"original":                     {{takes: 20 * ms, err: denied}, {takes: time.Hour}},
		"hedge":                        {{takes: time.Hour}, {takes: 10 * ms, err: denied}},
		"hedge, after the original's ": {{takes: 12 * ms, err: errDown}, {takes: 10 * ms, err: denied}, {takes: time.Hour}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: steps}
			start := time.Now()
			_, err := wrap(s, hedge.Options{Delay: 10 * ms, MaxHedges: len(steps) - 1, Budget: hedge.NewBudget(2)}).Call(t.Context(), 1)
			require.ErrorIs(t, err, denied, name)
			require.Equal(t, turret.Permanent, turret.Outcome(t.Context(), err), name)
			require.Equal(t, 20*ms, time.Since(start), name)
		})
	}
}

func TestNothingIsSentWhenTheDeadlineLeavesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := hedge.Options{Delay: 10 * ms, MaxHedges: 5, Budget: hedge.NewBudget(5)}
		for limit, want := range map[time.Duration]int{10 * ms: 1, 11 * ms: 2, 20 * ms: 2, 21 * ms: 3} {
			s := &script{steps: []step{{takes: time.Hour}, {takes: time.Hour}, {takes: time.Hour}}}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			_, err := wrap(s, o).Call(ctx, 1)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, want, s.count(), limit)
			cancel()
		}
	})
}

func TestNothingIsSentForACallerWhoHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*ms, cancel)
		calls := 0
		slowToLeave := turret.ServiceFunc[int, string](func(ctx context.Context, _ int) (string, error) {
			calls++
			<-time.After(20 * ms)
			return "", ctx.Err()
		})
		_, err := wrap(slowToLeave, hedge.Options{Delay: 10 * ms, Budget: every()}).Call(ctx, 1)
		require.Equal(t, context.Canceled, err)
		require.Equal(t, 1, calls)
	})
}

// ponderous is an error that takes long to say what it means.
type ponderous struct{}

func (ponderous) Error() string { return "let me think" }
func (ponderous) Class() turret.Class {
	<-time.After(20 * ms)
	return turret.Transient
}

func TestNothingIsSentWhenAnAnswerIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 { // the answer and the next hedge's time come while the layer thinks
			s := &script{steps: []step{{takes: 15 * ms}, {err: ponderous{}}, {takes: time.Hour}}}
			got, err := wrap(s, hedge.Options{Delay: 10 * ms, MaxHedges: 2, Budget: hedge.NewBudget(2)}).Call(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, "original", got)
			synctest.Wait()
			require.Equal(t, 2, s.count())
		}
	})
}

func TestTheCallersEndEndsAllCallsAndIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &script{steps: []step{{takes: time.Hour}, {takes: time.Hour}}}
		time.AfterFunc(15*ms, cancel)
		start := time.Now()
		_, err := wrap(s, hedge.Options{Delay: 10 * ms, Budget: every()}).Call(ctx, 1)
		require.Equal(t, 15*ms, time.Since(start))
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, turret.ErrOutrun)
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
		for _, call := range s.calls {
			require.Equal(t, context.Canceled, context.Cause(call.ctx), "nobody was outrun")
		}
	})
}

func TestATimeoutAboveKnowsThatItEndedTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{takes: time.Hour}, {takes: time.Hour}}}
		stack := turret.Stack(timeout.Layer[int, string](time.Second), hedge.Layer[int, string](hedge.Options{Delay: 10 * ms, Budget: every()}))(s)
		_, err := stack.Call(t.Context(), 1)
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorIs(t, err, hedge.ErrFailed)
		require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
	})
}

func TestOnlyIdempotentRequestsAreHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := hedge.OptionsIf[int]{
			Options:    hedge.Options{Delay: 10 * ms, Budget: every()},
			Idempotent: func(req int) bool { return req > 0 },
		}
		for req, want := range map[int]int{-1: 1, 1: 2} {
			s := &script{steps: []step{{takes: time.Second}, {takes: time.Second}}}
			b := turret.With(turret.NewBuilder[int, string](), hedge.LayerIf, o)
			_, err := b.Service(s).Call(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, want, s.count())
		}
	})
}

func TestHooksHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent, won []hedge.Event
		o := hedge.Options{
			Delay: 10 * ms, MaxHedges: 2, Budget: hedge.NewBudget(2),
			OnHedge: func(_ context.Context, e hedge.Event) { sent = append(sent, e) },
			OnWin:   func(_ context.Context, e hedge.Event) { won = append(won, e) },
		}
		_, err := wrap(&script{steps: []step{{takes: time.Hour}, {takes: time.Hour}, {takes: 5 * ms}}}, o).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, []hedge.Event{{1, 10 * ms}, {2, 20 * ms}}, sent)
		require.Equal(t, []hedge.Event{{2, 25 * ms}}, won)

		_, err = wrap(&script{steps: []step{{takes: 15 * ms}, {takes: time.Hour}}}, o).Call(t.Context(), 1)
		require.NoError(t, err)
		require.Len(t, won, 1, "an original that wins is no news")

		require.Panics(t, func() {
			_, _ = wrap(&script{steps: []step{{takes: time.Hour}, {do: func() { panic("boom") }}}}, o).Call(t.Context(), 1)
		})
		require.Len(t, won, 1, "and a panic is no win")
	})
}

func TestAPanickingHookLeavesNothingRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{takes: time.Hour}}}
		o := hedge.Options{Delay: 10 * ms, Budget: every(), OnHedge: func(context.Context, hedge.Event) { panic("hook") }}
		require.PanicsWithValue(t, "hook", func() { _, _ = wrap(s, o).Call(t.Context(), 1) })
		start := time.Now()
		<-s.calls[0].ended
		require.Zero(t, time.Since(start))
	})
}

func TestManyCallersAtOnce(t *testing.T) {
	var n atomic.Int64
	s := wrap(turret.ServiceFunc[int, string](func(ctx context.Context, req int) (string, error) {
		switch n.Add(1) % 5 {
		case 0:
			return "", after(ctx, time.Hour)
		case 1:
			return "", errDown
		}
		return "ok", nil
	}), hedge.Options{Delay: 50 * time.Microsecond, MaxHedges: 3, Budget: hedge.NewBudget(3)})
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), 20*ms)
				got, err := s.Call(ctx, 1)
				if err != nil {
					assert.True(t, errors.Is(err, errDown) || errors.Is(err, context.DeadlineExceeded), err)
				} else {
					assert.Equal(t, "ok", got)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

func TestValidate(t *testing.T) {
	for _, ok := range []hedge.Options{
		{}, {Delay: 1}, {Percentile: 0.5}, {Percentile: 0.999}, {MaxHedges: 10},
	} {
		require.NoError(t, ok.Validate())
		require.NotPanics(t, func() { hedge.Layer[int, string](ok) })
	}
	for want, bad := range map[string]hedge.Options{
		"hedge: Delay is -1s; it must be above zero, or 0 for a Percentile":                           {Delay: -time.Second},
		"hedge: both Delay 1s and Percentile 0.9 are set; a delay is fixed or measured, so set one":   {Delay: time.Second, Percentile: 0.9},
		"hedge: Percentile is 95; it is a share above 0 and up to 0.999, as in 0.95, or 0 for that":   {Percentile: 95},
		"hedge: Percentile is -0.5; it is a share above 0 and up to 0.999, as in 0.95, or 0 for that": {Percentile: -0.5},
		"hedge: Percentile is NaN; it is a share above 0 and up to 0.999, as in 0.95, or 0 for that":  {Percentile: math.NaN()},
		"hedge: Percentile is +Inf; it is a share above 0 and up to 0.999, as in 0.95, or 0 for that": {Percentile: math.Inf(1)},
		"hedge: MaxHedges is -1; it must be from 1 to 10, or 0 for 1":                                 {MaxHedges: -1},
		"hedge: MaxHedges is 11; it must be from 1 to 10, or 0 for 1":                                 {MaxHedges: 11},
	} {
		require.EqualError(t, bad.Validate(), want)
		require.PanicsWithError(t, want, func() { hedge.Layer[int, string](bad) })
		require.PanicsWithError(t, want, func() { hedge.LayerIf[int, string](hedge.OptionsIf[int]{Options: bad}) })
	}
}

func TestDescribe(t *testing.T) {
	for want, o := range map[string]hedge.OptionsIf[int]{
		"hedge past the 95th percentile, budget 5%":                      {},
		"hedge past the 99.9th percentile, 3 at most, budget 5%":         {Options: hedge.Options{Percentile: 0.999, MaxHedges: 3}},
		"hedge after 50ms, budget 12.5%":                                 {Options: hedge.Options{Delay: 50 * ms, Budget: hedge.NewBudget(0.125)}},
		"hedge past the 95th percentile, budget 5%, idempotent requests": {Idempotent: func(int) bool { return true }},
	} {
		require.Equal(t, want+"\n*hedge_test.script", turret.Describe(hedge.LayerIf[int, string](o)(&script{})))
	}
}
