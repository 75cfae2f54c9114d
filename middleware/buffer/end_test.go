package buffer_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/buffer"
)

func TestCloneAddsAStreamAndClosingTheLastOneEndsTheWorker(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, first *stream) {
		second := first.Clone()
		queued := begin(t.Context(), first, 1)
		require.NoError(t, first.Close())
		require.NoError(t, first.Close(), "which counts once")
		_, err := first.Call(t.Context(), 2)
		assert.ErrorIs(t, err, buffer.ErrClosed)
		assert.ErrorIs(t, turret.Ready(first), buffer.ErrClosed)
		_, err = first.Clone().Call(t.Context(), 2)
		assert.ErrorIs(t, err, buffer.ErrClosed)

		resp, err := second.Call(t.Context(), 3)
		require.NoError(t, err)
		assert.Equal(t, 30, resp)
		assert.NoError(t, queued.wait().err, "what came through a stream before its end is served")
		assert.Zero(t, c.closes)

		require.NoError(t, second.Close())
		assert.Equal(t, 1, c.closes)
		_, err = second.Call(t.Context(), 4)
		assert.ErrorIs(t, err, buffer.ErrClosed)
		assert.Equal(t, []int{1, 3}, c.served)
	})
}

func TestCloseDrainsThenTheHandlersOwnCloseRunsOnce(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 1, WaitForRoom: time.Minute}, func(t *testing.T, c *card, b *stream) {
		c.close = func() error { return errCard }
		start := time.Now()
		calls := []*call{begin(t.Context(), b, 1), begin(t.Context(), b, 2), begin(t.Context(), b, 3)}
		go func() { <-time.After(time.Second / 2); _ = b.Close() }()
		<-time.After(time.Second / 2)
		synctest.Wait()
		refused := begin(t.Context(), b, 4)
		assert.True(t, refused.hasEnded())
		assert.EqualError(t, refused.err, "buffer: closed")
		assert.Equal(t, turret.Rejected, turret.Classify(refused.err))

		assert.ErrorIs(t, b.Close(), errCard, "what the handler's Close says")
		assert.Equal(t, 3*time.Second, time.Since(start))
		for _, call := range calls {
			assert.NoError(t, call.wait().err)
		}
		assert.ErrorIs(t, b.Close(), errCard)
		assert.Equal(t, 1, c.closes)
	})
}

func TestCloseOfAWorkerThatNeverStartedClosesTheHandler(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		require.NoError(t, b.Close())
		assert.Equal(t, 1, c.closes)
	})
}

func TestWorkerThatNeverStartedLeavesNothingBehind(t *testing.T) {
	worker(&card{}, buffer.Options{}) // and goleak looks in the end
}

func TestShutdownDrains(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		c.close = func() error { return errCard }
		clone := b.Clone()
		first, second := begin(t.Context(), b, 1), begin(t.Context(), clone, 2)
		assert.ErrorIs(t, b.Shutdown(t.Context()), errCard)
		assert.NoError(t, first.wait().err)
		assert.NoError(t, second.wait().err)
		_, err := clone.Call(t.Context(), 3)
		assert.ErrorIs(t, err, buffer.ErrClosed, "whatever streams there are")
		assert.ErrorIs(t, clone.Shutdown(canceled(t)), errCard, "it is over, and says so to everybody")
	})
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestShutdownAbortsWhenItsContextEnds(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		c.deaf = true
		first, second, third := begin(t.Context(), b, 1), begin(t.Context(), b, 2), begin(t.Context(), b, 3)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second/2)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, b.Shutdown(ctx))
		assert.NoError(t, first.wait().err)
		assert.EqualError(t, second.wait().err, "buffer: closed while the handler was at this request: context deadline exceeded")
		assert.Equal(t, turret.Transient, turret.Outcome(t.Context(), second.err))
		assert.EqualError(t, third.wait().err, "buffer: closed: context deadline exceeded")
		assert.Equal(t, turret.Rejected, turret.Outcome(t.Context(), third.err))
		require.NoError(t, b.Shutdown(t.Context()), "to wait for the handler's Close")
		assert.Equal(t, 1, c.closes)
		assert.Equal(t, []int{1, 2}, c.served)
	})
}

func TestAbortGivesEverybodyErrClosedWithTheCause(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 1, WaitForRoom: time.Minute}, func(t *testing.T, c *card, b *stream) {
		start := time.Now()
		underWay, queued, outside := begin(t.Context(), b, 1), begin(t.Context(), b, 2), begin(t.Context(), b, 3)
		b.Abort(errCard)
		for i, call := range []*call{underWay, queued, outside, begin(t.Context(), b.Clone(), 4)} {
			require.True(t, call.hasEnded())
			assert.ErrorIs(t, call.err, buffer.ErrClosed)
			assert.ErrorIs(t, call.err, errCard)
			var closed *buffer.ClosedError
			require.ErrorAs(t, call.err, &closed)
			assert.Equal(t, i == 0, closed.UnderWay)
		}
		assert.ErrorIs(t, turret.Ready(b), buffer.ErrClosed)
		require.NoError(t, b.Close())
		assert.Zero(t, time.Since(start), "the handler's context ended")
		b.Abort(errors.New("another cause"))
		_, err := b.Call(t.Context(), 5)
		assert.EqualError(t, err, "buffer: closed: card removed", "the first cause stands")
		assert.Equal(t, []int{1}, c.served)
	})
}

func TestAbortLeavesAnEndedWorkerAsItIs(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		require.NoError(t, b.Close())
		b.Abort(errCard)
		_, err := b.Call(t.Context(), 5)
		assert.EqualError(t, err, "buffer: closed")
	})
}

func TestAbortCutsADrainShort(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		first, second := begin(t.Context(), b, 1), begin(t.Context(), b, 2)
		closing := make(chan error)
		go func() { closing <- b.Close() }()
		synctest.Wait()
		b.Abort(errCard)
		assert.ErrorIs(t, first.wait().err, errCard)
		assert.ErrorIs(t, second.wait().err, errCard)
		assert.NoError(t, <-closing)
		assert.Equal(t, []int{1}, c.served)
	})
}

func TestPanickingHandlerEndsTheWorkerAndWakesEverybody(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 1, WaitForRoom: time.Minute}, func(t *testing.T, c *card, b *stream) {
		c.answer = func(context.Context, int) error { panic(errCard) }
		panicked := make(chan any)
		go func() {
			defer func() { panicked <- recover() }()
			_, _ = b.Call(t.Context(), 1)
		}()
		synctest.Wait()
		queued, outside := begin(t.Context(), b, 2), begin(t.Context(), b, 3)
		assert.Equal(t, errCard, <-panicked, "its caller sees the panic itself")
		for _, call := range []*call{queued, outside, begin(t.Context(), b, 4)} {
			require.True(t, call.hasEnded())
			assert.EqualError(t, call.err, "buffer: closed: the handler panicked: card removed")
			assert.ErrorIs(t, call.err, buffer.ErrClosed)
			assert.ErrorIs(t, call.err, errCard)
			assert.Equal(t, turret.Transient, turret.Outcome(t.Context(), call.err))
			var cause *buffer.PanicError
			require.ErrorAs(t, call.err, &cause)
			assert.Contains(t, string(cause.Stack), "end_test.go")
		}
		assert.Equal(t, []int{1}, c.served)
		require.NoError(t, b.Close())
	})
}

func TestPanicWhoseCallerHasGoneEndsTheWorkerAllTheSame(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		c.deaf, c.answer = true, func(context.Context, int) error { panic("boom") }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		begin(ctx, b, 1)
		assert.EqualError(t, begin(t.Context(), b, 2).wait().err, "buffer: closed: the handler panicked: boom")
	})
}

func TestGoexitOfTheHandlerEndsTheWorkerAndItsCaller(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		c.answer = func(context.Context, int) error { runtime.Goexit(); return nil }
		first, second := begin(t.Context(), b, 1), begin(t.Context(), b, 2)
		assert.Zero(t, first.wait().took, "Call did not return")
		assert.ErrorIs(t, second.wait().err, buffer.ErrGoexit)
		assert.ErrorIs(t, second.err, buffer.ErrClosed)
		require.NoError(t, b.Close())
	})
}

func TestPanicOfTheHandlersCloseIsAnError(t *testing.T) {
	for _, end := range []func(){func() { panic("boom") }, runtime.Goexit} {
		bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
			c.close = func() error { end(); return nil }
			assert.Error(t, b.Close())
		})
	}
}

func TestTurretCloseStopsAtWhatTheWorkerOwns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &card{}
		below := turret.NewBuilder[int, int]().Use(opaque).Service(c)
		first := buffer.New(below, buffer.Options{})
		second := first.Clone()
		require.NoError(t, turret.Close(first))
		assert.Zero(t, c.closes, "the second stream is open")
		require.NoError(t, turret.Close(second))
		assert.Equal(t, 1, c.closes, "all that is below is closed, once")
		require.NoError(t, turret.Close(second))
		assert.Equal(t, 1, c.closes)
	})
}
