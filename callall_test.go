package turret_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

type (
	intFunc   = turret.ServiceFunc[int, int]
	intAnswer = turret.Answer[int, int]
	all       = turret.CallAllOptions
)

var square = intFunc(func(_ context.Context, n int) (int, error) { return n * n, nil })

// sleeper answers n after n seconds, and counts its calls.
type sleeper struct{ calls, underWay, most atomic.Int64 }

func (s *sleeper) Call(ctx context.Context, n int) (int, error) {
	s.calls.Add(1)
	now := s.underWay.Add(1)
	defer s.underWay.Add(-1)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); {
		most = s.most.Load()
	}
	select {
	case <-time.After(time.Duration(n) * time.Second):
		return n, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// input yields numbers, blocks afterwards until it is released, and tells when
// it ended.
type input struct {
	numbers []int
	release chan struct{} // nil does not block
	taken   atomic.Int64
	ended   atomic.Bool
}

func (in *input) seq(yield func(int) bool) {
	defer in.ended.Store(true)
	for _, n := range in.numbers {
		in.taken.Add(1)
		if !yield(n) {
			return
		}
	}
	if in.release != nil {
		<-in.release
		yield(-1)
	}
}

func count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// indexes collects the indexes of answers, in the order they came.
func indexes(t *testing.T, seq iter.Seq2[intAnswer, error]) (got []int) {
	t.Helper()
	for a, err := range seq {
		require.NoError(t, err)
		got = append(got, a.Index)
	}
	return got
}

func TestCallAllOrderedYieldsInTheOrderOfTheRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		reqs := slices.Values([]int{3, 1, 2})
		require.Equal(t, []int{0, 1, 2}, indexes(t, turret.CallAll(t.Context(), &sleeper{}, reqs, all{})))
		require.Equal(t, 3*time.Second, time.Since(start), "calls run at the same time")
	})
}

func TestCallAllUnorderedYieldsAsAnswersCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reqs := slices.Values([]int{3, 1, 2})
		require.Equal(t, []int{1, 2, 0}, indexes(t, turret.CallAll(t.Context(), &sleeper{}, reqs, all{Unordered: true})))
	})
}

// each runs a test in a bubble, ordered and unordered.
func each(t *testing.T, f func(t *testing.T, o all)) {
	for _, o := range []all{{}, {Unordered: true}} {
		t.Run(fmt.Sprintf("unordered=%v", o.Unordered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, o) })
		})
	}
}

func TestCallAllYieldsEveryRequestOnceWithItsAnswer(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		seen := make(map[int]bool)
		for a, err := range turret.CallAll(t.Context(), square, count(1000), o) {
			require.NoError(t, err)
			require.Equal(t, a.Index, a.Request)
			require.Equal(t, a.Request*a.Request, a.Response)
			require.False(t, seen[a.Index])
			seen[a.Index] = true
		}
		require.Len(t, seen, 1000)
	})
}

func TestCallAllErrorsEndNoOtherCall(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		odd := errors.New("odd")
		svc := intFunc(func(_ context.Context, n int) (int, error) {
			if n%2 == 1 {
				return -n, odd
			}
			return n, nil
		})
		var n, failed int
		for a, err := range turret.CallAll(t.Context(), svc, count(100), o) {
			n++
			if a.Request%2 == 1 {
				failed++
				require.Equal(t, odd, err)
				require.Equal(t, -a.Request, a.Response, "what came with the error is kept")
			}
		}
		require.Equal(t, 100, n)
		require.Equal(t, 50, failed)
	})
}

func TestCallAllIsBounded(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		for _, bound := range []int{0, 1, 3} {
			svc := &sleeper{}
			o.MaxInFlight = bound
			reqs := slices.Values(slices.Repeat([]int{1}, 40))
			require.Len(t, indexes(t, turret.CallAll(t.Context(), svc, reqs, o)), 40)
			require.EqualValues(t, [...]int{16, 1, 0, 3}[bound], svc.most.Load())
		}
	})
}

func TestCallAllTakesNoMoreThanThereIsRoomFor(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		o.MaxInFlight = 4
		in := &input{numbers: make([]int, 100)}
		given := 0
		for range turret.CallAll(t.Context(), square, in.seq, o) {
			given++
			<-time.After(time.Second) // a slow consumer
			require.LessOrEqual(t, int(in.taken.Load()), given+o.MaxInFlight)
			if given < 90 {
				require.EqualValues(t, given+o.MaxInFlight, in.taken.Load(), "calls go on while the consumer works")
			}
		}
	})
}

func TestCallAllSlowAnswerHoldsUpTheOrderWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := &sleeper{}
		in := &input{numbers: []int{60, 1, 1, 1, 1, 1}}
		var taken, underWay atomic.Int64
		time.AfterFunc(30*time.Second, func() {
			taken.Store(in.taken.Load())
			underWay.Store(svc.underWay.Load())
		})
		require.Len(t, indexes(t, turret.CallAll(t.Context(), svc, in.seq, all{MaxInFlight: 3})), 6)
		require.EqualValues(t, 3, taken.Load())
		require.EqualValues(t, 1, underWay.Load())
	})
}

func TestCallAllHoldsNoSlotWhileTheInputIdles(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		svc := &sleeper{}
		in := &input{numbers: []int{2, 1}, release: make(chan struct{})}
		start, got := time.Now(), 0
		for _, err := range turret.CallAll(ctx, svc, in.seq, o) {
			if got++; got <= 2 {
				require.NoError(t, err, "answered although the input idles")
			}
			if got == 2 {
				require.Equal(t, 2*time.Second, time.Since(start))
				synctest.Wait()
				require.Zero(t, svc.underWay.Load())
				close(in.release)
			}
		}
		require.Equal(t, 3, got)
		require.True(t, in.ended.Load())
	})
}

func TestCallAllStopsCallingWhenTheConsumerBreaksOff(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		svc := &sleeper{}
		in := &input{numbers: slices.Concat([]int{1, 2}, slices.Repeat([]int{60}, 100))}
		o.MaxInFlight = 5
		start := time.Now()
		for a := range turret.CallAll(t.Context(), svc, in.seq, o) {
			if a.Index == 1 {
				break
			}
		}
		require.Equal(t, 2*time.Second, time.Since(start), "calls under way are cancelled")
		require.Zero(t, svc.underWay.Load(), "and have returned")
		require.True(t, in.ended.Load(), "and so has the input")
		calls := svc.calls.Load()
		require.LessOrEqual(t, calls, int64(2+o.MaxInFlight))
		<-time.After(time.Minute)
		require.Equal(t, calls, svc.calls.Load())
	})
}

func TestCallAllBreakWaitsForAnInputThatBlocks(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		in := &input{numbers: []int{1}, release: make(chan struct{})}
		time.AfterFunc(time.Minute, func() { close(in.release) })
		start, svc := time.Now(), &sleeper{}
		for range turret.CallAll(t.Context(), svc, in.seq, o) {
			break
		}
		require.Equal(t, time.Minute, time.Since(start))
		require.True(t, in.ended.Load())
		require.EqualValues(t, 1, svc.calls.Load(), "what it yielded then is not called for")
	})
}

func TestCallAllEndsWithItsContext(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		o.MaxInFlight = 3
		svc := &sleeper{}
		in := &input{numbers: []int{1, 1, 600, 600, 600, 600, 600}}
		start := time.Now()
		var got []int
		for a, err := range turret.CallAll(ctx, svc, in.seq, o) {
			got = append(got, a.Index)
			if a.Index < 0 || a.Index > 1 {
				require.Equal(t, context.DeadlineExceeded, err)
			}
		}
		require.Equal(t, 90*time.Second, time.Since(start))
		require.True(t, in.ended.Load())
		require.Zero(t, svc.underWay.Load())
		require.Len(t, got, 6)
		require.Equal(t, -1, got[5], "the last pair says that this was not all")
		slices.Sort(got)
		require.Equal(t, []int{-1, 0, 1, 2, 3, 4}, got, "what was taken is answered")
	})
}

func TestCallAllLeavesABlockedInputBehindWhenItsContextEnds(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		svc := &sleeper{}
		in := &input{numbers: []int{1}, release: make(chan struct{})}
		start := time.Now()
		var last error
		for _, err := range turret.CallAll(ctx, svc, in.seq, o) {
			last = err
		}
		require.Equal(t, context.DeadlineExceeded, last)
		require.Equal(t, time.Minute, time.Since(start))
		require.False(t, in.ended.Load())
		close(in.release)
		synctest.Wait()
		require.True(t, in.ended.Load(), "it ends when it moves")
		require.EqualValues(t, 1, svc.calls.Load(), "and nothing is called for it")
	})
}

func TestCallAllTellsOfAnInputThatEndedWithItsContext(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		reqs := func(yield func(int) bool) {
			yield(1)
			<-ctx.Done()
		}
		var got []int
		for a := range turret.CallAll(ctx, &sleeper{}, reqs, o) {
			got = append(got, a.Index)
		}
		require.Equal(t, []int{0, -1}, got)
	})
}

func TestCallAllCompleteInputHasNoExtraPair(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := 0
		for a, err := range turret.CallAll(ctx, &sleeper{}, slices.Values([]int{60, 60}), o) {
			require.Equal(t, context.DeadlineExceeded, err)
			require.GreaterOrEqual(t, a.Index, 0)
			n++
		}
		require.Equal(t, 2, n)
	})
}

func TestCallAllWithADoneContextCallsNothing(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		svc, in := &sleeper{}, &input{numbers: []int{1, 2}}
		for range 100 {
			n := 0
			for a, err := range turret.CallAll(ctx, svc, in.seq, o) {
				n++
				require.Equal(t, -1, a.Index)
				require.Equal(t, context.Canceled, err)
			}
			require.Equal(t, 1, n)
		}
		require.Zero(t, in.taken.Load())
		require.Zero(t, svc.calls.Load())
	})
}

func TestCallAllPassesPanicsOnToTheConsumer(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		svc := &sleeper{}
		bad := intFunc(func(ctx context.Context, n int) (int, error) {
			if n == 2 {
				panic("two")
			}
			return svc.Call(ctx, n)
		})
		in := &input{numbers: []int{1, 2, 60, 60, 60}}
		require.PanicsWithValue(t, "two", func() { indexes(t, turret.CallAll(t.Context(), bad, in.seq, o)) })
		require.Zero(t, svc.underWay.Load())
		require.True(t, in.ended.Load())
	})
}

func TestCallAllPassesAPanicOfTheInputOnAfterItsAnswers(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		reqs := func(yield func(int) bool) {
			_ = yield(1) && yield(2)
			panic("input")
		}
		var got []int
		require.PanicsWithValue(t, "input", func() {
			for a := range turret.CallAll(t.Context(), &sleeper{}, reqs, o) {
				got = append(got, a.Index)
			}
		})
		require.Equal(t, []int{0, 1}, got)
	})
}

func TestCallAllPassesGoexitOnToTheConsumer(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		exit := intFunc(func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil })
		var went, after bool
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() { went = true }()
			indexes(t, turret.CallAll(t.Context(), exit, count(3), o))
			after = true
		})
		wg.Wait()
		require.True(t, went)
		require.False(t, after)
	})
}

func TestCallAllConsumersPanicLeavesNothingBehind(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		svc, in := &sleeper{}, &input{numbers: []int{1, 60, 60}}
		require.PanicsWithValue(t, "mine", func() {
			for range turret.CallAll(t.Context(), svc, in.seq, o) {
				panic("mine")
			}
		})
		require.Zero(t, svc.underWay.Load())
		require.True(t, in.ended.Load())
	})
}

func TestCallAllBeginsAnewEachTime(t *testing.T) {
	seq := turret.CallAll(t.Context(), square, count(3), all{})
	require.Equal(t, []int{0, 1, 2}, indexes(t, seq))
	require.Equal(t, []int{0, 1, 2}, indexes(t, seq))
}

func TestCallAllValidatesItsOptions(t *testing.T) {
	require.EqualError(t, all{MaxInFlight: -1}.Validate(),
		"turret: CallAllOptions.MaxInFlight is -1; it must be at least 1, or 0 for the default of 16")
	require.NoError(t, all{}.Validate())
	require.EqualError(t, all{MaxInFlight: 1_000_001}.Validate(),
		"turret: CallAllOptions.MaxInFlight is 1000001; it is 1000000 at the most")
	require.NoError(t, all{MaxInFlight: 1_000_000}.Validate())
	require.Panics(t, func() { turret.CallAll(t.Context(), square, count(1), all{MaxInFlight: -1}) })
}

func TestCallAllOfNothingPanicsAtOnce(t *testing.T) {
	require.PanicsWithValue(t, "turret: CallAll needs a service; it was given nil",
		func() { turret.CallAll[int, int](t.Context(), nil, count(1), all{}) })
	require.PanicsWithValue(t, "turret: CallAll needs a sequence of requests; it was given nil",
		func() { turret.CallAll(t.Context(), square, nil, all{}) })
}

// Breaks and ends of contexts at every possible moment, for the race detector.
func TestCallAllIsCancelSafeAtAnyMoment(t *testing.T) {
	each(t, func(t *testing.T, o all) {
		for i := range 300 {
			ctx, cancel := context.WithCancel(t.Context())
			o.MaxInFlight = 1 + i%7
			var underWay atomic.Int64
			svc := intFunc(func(ctx context.Context, n int) (int, error) {
				defer underWay.Add(-1)
				underWay.Add(1)
				if n == i%50 {
					go cancel()
				}
				return n, nil
			})
			seen := make(map[int]bool)
			for a, err := range turret.CallAll(ctx, svc, count(50), o) {
				require.False(t, seen[a.Index])
				seen[a.Index] = true
				if i%3 == 0 && a.Index == i%30 || err != nil {
					break
				}
			}
			require.Zero(t, underWay.Load())
			cancel()
		}
	})
}

func ExampleCallAll() {
	ctx := context.Background()
	shout := turret.ServiceFunc[string, string](func(_ context.Context, s string) (string, error) {
		if s == "" {
			return "", errors.New("nothing to shout")
		}
		return s + "!", nil
	})
	words := slices.Values([]string{"tower", "", "turret"})

	for a, err := range turret.CallAll(ctx, shout, words, turret.CallAllOptions{MaxInFlight: 2}) {
		if err != nil {
			fmt.Printf("%d: %v\n", a.Index, err)
			continue
		}
		fmt.Printf("%d: %q → %q\n", a.Index, a.Request, a.Response)
	}
	// Output:
	// 0: "tower" → "tower!"
	// 1: nothing to shout
	// 2: "turret" → "turret!"
}

func BenchmarkCallAll(b *testing.B) {
	for _, o := range []all{{}, {Unordered: true}} {
		b.Run(fmt.Sprintf("unordered=%v", o.Unordered), func(b *testing.B) {
			b.ReportAllocs()
			for range turret.CallAll(b.Context(), square, count(b.N), o) {
			}
		})
	}
}
