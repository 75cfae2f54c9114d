package adaptive

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func newWindow() *window {
	w := new(window)
	w.reset(0, longest)
	return w
}

func TestWindowMean(t *testing.T) {
	w := newWindow()
	for _, ms := range []time.Duration{10, 20, 60} {
		w.answer(ms * time.Millisecond)
	}
	w.overload()
	w.busy(7)
	w.busy(3)
	require.Equal(t, sight{answers: 3, mean: 30 * time.Millisecond, overloads: 1, peak: 7}, w.read())
	w.reset(2, time.Second)
	require.Equal(t, sight{peak: 2}, w.read())
	w.answer(time.Hour)
	require.Equal(t, time.Second, w.read().mean, "an outlier is clipped")
}

func TestWindowHoldsTheMostThatItMay(t *testing.T) {
	w := newWindow()
	for range most {
		w.answer(longest)
	}
	require.Equal(t, sight{answers: most, mean: longest}, w.read())
	require.False(t, w.full())
	for range 1 << 19 {
		w.answer(0)
	}
	require.True(t, w.full())
}

func TestWindowEndsBeforeItsSumHasNoRoom(t *testing.T) {
	w := newWindow()
	n := 0
	for ; !w.full(); n++ {
		w.answer(longest)
	}
	for range most { // those under way
		w.answer(longest)
	}
	require.Equal(t, sight{answers: n + most, mean: longest}, w.read())
}

func TestWindowCanBeAsLongAsThereIsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Window: math.MaxInt64})
		<-time.After(time.Second)
		l.endWindow(l.now())
		l.window.answers.Store(1 << 19 << sumBits)
		l.endWindow(l.now())
		require.Zero(t, l.window.answers.Load(), "its count has no room")
		l.window.answers.Store(1000 << sumBits)
		require.False(t, l.due(l.now()), "and the next one is as long")
	})
}

func TestWindowLosesNothingBetweenTwoReads(t *testing.T) {
	w := newWindow()
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 2000 {
				w.answer(time.Millisecond)
			}
		})
	}
	total := 0
	read := func() {
		s := w.read()
		total += s.answers
		if s.answers > 0 {
			require.Equal(t, time.Millisecond, s.mean)
		}
	}
	for range 1000 {
		read()
	}
	writers.Wait()
	read()
	require.Equal(t, 16_000, total)
}

func TestWindowTellsEnoughWithAnAnswerForEachCallThatWasUnderWay(t *testing.T) {
	w := newWindow()
	w.busy(3)
	for range enough - 1 {
		w.answer(0)
	}
	require.False(t, w.tellsEnough())
	w.overload()
	require.True(t, w.tellsEnough())
	w.busy(11)
	require.False(t, w.tellsEnough())
}

func TestWindowEndsBeforeItsCountHasNoRoom(t *testing.T) {
	l := New(Options{Window: time.Hour})
	l.window.answers.Store((1<<19 - 1) << sumBits)
	l.inFlight.Store(1)
	l.end(l.now(), answer)
	require.Zero(t, l.window.answers.Load())
}

func TestWindowPeakIsTheHighest(t *testing.T) {
	w := newWindow()
	var all sync.WaitGroup
	for g := range int64(8) {
		all.Go(func() {
			for i := range int64(10_000) {
				w.busy(i*8 + g)
			}
		})
	}
	all.Wait()
	require.Equal(t, 79_999, w.read().peak)
}
