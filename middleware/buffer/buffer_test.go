package buffer_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/buffer"
)

func TestOneRequestAtATimeInArrivalOrder(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		clone := b.Clone()
		var calls []*call
		for n := range 10 {
			calls = append(calls, begin(t.Context(), []*stream{b, clone}[n%2], n))
		}
		for n, call := range calls {
			require.NoError(t, call.wait().err)
			assert.Equal(t, 10*n, call.resp)
			assert.Equal(t, time.Duration(n+1)*time.Second, call.took)
		}
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, c.served)
	})
}

func TestOneGoroutineOwnsTheHandler(t *testing.T) {
	var owners []string
	note := func() error {
		owners = append(owners, string(bytes.Fields(stack())[1]))
		return nil
	}
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		c.answer, c.close = func(context.Context, int) error { return note() }, note
		begin(t.Context(), b, 1).wait()
		begin(t.Context(), b, 2).wait()
		require.NoError(t, b.Close())
	})
	require.Len(t, owners, 3)
	assert.Equal(t, owners[0], owners[1])
	assert.Equal(t, owners[0], owners[2])
}

func stack() []byte {
	text := make([]byte, 64)
	return text[:runtime.Stack(text, false)]
}

func TestHandlersResultPassesUnchanged(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		c.answer = func(context.Context, int) error { return errCard }
		resp, err := b.Call(t.Context(), 7)
		assert.Equal(t, 70, resp)
		assert.Equal(t, errCard, err)
	})
}

func TestHandlerGetsTheCallersContext(t *testing.T) {
	type key struct{}
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		var seen context.Context
		c.answer = func(ctx context.Context, _ int) error { seen = ctx; return nil }
		_, err := b.Call(context.WithValue(t.Context(), key{}, "value"), 7)
		require.NoError(t, err)
		assert.Equal(t, "value", seen.Value(key{}))
		assert.Error(t, seen.Err(), "it ends with the call")
	})
}

func TestQueuedRequestWhoseCallerHasGoneNeverReachesTheHandler(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		first := begin(t.Context(), b, 1)
		ctx, cancel := context.WithCancel(t.Context())
		second, third := begin(ctx, b, 2), begin(t.Context(), b, 3)
		cancel()
		assert.Equal(t, context.Canceled, second.wait().err)
		assert.Zero(t, second.took, "it leaves at once")
		assert.Equal(t, 10, first.wait().resp)
		assert.Equal(t, 30, third.wait().resp)
		assert.Equal(t, []int{1, 3}, c.served)
	})
}

// On one processor the worker comes to the second request before its caller does,
// though that has been woken.
func TestRequestWhoseCallerGoesAsItsTurnComesNeverReachesTheHandler(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for range 20 {
		bubble(t, buffer.Options{Capacity: buffer.NoQueue, WaitForRoom: time.Minute}, func(t *testing.T, c *card, b *stream) {
			ctx, cancel := context.WithCancel(t.Context())
			c.answer = func(context.Context, int) error { cancel(); return nil }
			first, second, third := begin(t.Context(), b, 1), begin(ctx, b, 2), begin(t.Context(), b, 3)
			require.NoError(t, first.wait().err)
			assert.ErrorIs(t, second.wait().err, context.Canceled)
			assert.NoError(t, third.wait().err)
			assert.Equal(t, 2*time.Second, third.took, "nor holds it up the next one")
			assert.Equal(t, []int{1, 3}, c.served)
		})
	}
}

func TestCallerWhoHasGoneBeforeTheCallIsNotQueued(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &card{}
	_, err := worker(c, buffer.Options{}).Call(ctx, 1)
	assert.Equal(t, context.Canceled, err)
}

func TestCallerWhoLeavesTheQueueLeavesRoom(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 1}, func(t *testing.T, c *card, b *stream) {
		begin(t.Context(), b, 1)
		ctx, cancel := context.WithCancel(t.Context())
		begin(ctx, b, 2)
		assert.ErrorIs(t, begin(t.Context(), b, 3).wait().err, buffer.ErrFull)
		cancel()
		synctest.Wait()
		assert.NoError(t, begin(t.Context(), b, 4).wait().err)
		assert.Equal(t, []int{1, 4}, c.served)
	})
}

func TestCallerLeavesAtOnceWhileTheHandlerIsAtItsRequest(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		c.deaf = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		first, second := begin(ctx, b, 1), begin(t.Context(), b, 2)
		assert.Equal(t, context.DeadlineExceeded, first.wait().err)
		assert.Equal(t, time.Second/2, first.took)
		assert.Equal(t, turret.Canceled, turret.Outcome(ctx, first.err))
		assert.Equal(t, 20, second.wait().resp, "the first result goes to nobody")
		assert.Equal(t, 2*time.Second, second.took, "the worker stays busy until the handler returns")
	})
}

func TestHandlerHearsThatItsCallerLeft(t *testing.T) {
	bubble(t, buffer.Options{}, func(t *testing.T, c *card, b *stream) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		begin(ctx, b, 1)
		assert.Equal(t, 3*time.Second/2, begin(t.Context(), b, 2).wait().took)
	})
}

// On one processor the caller is woken by the end of its context, and runs when
// the answer is there as well.
func TestAnswerThatIsThereWinsOverTheEndOfTheContext(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b := buffer.New(turret.ServiceFunc[func(), int](func(_ context.Context, cancel func()) (int, error) {
		cancel()
		return 1, nil
	}), buffer.Options{})
	defer b.Close()
	answers := 0
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := b.Call(ctx, cancel)
		if err == nil {
			answers += resp
		}
	}
	assert.Greater(t, answers, 50)
}

func TestCapacityIsExactlyWhatWasAsked(t *testing.T) {
	for _, tc := range []struct{ capacity, want int }{{buffer.NoQueue, 0}, {1, 1}, {2, 2}, {7, 7}, {0, 64}} {
		bubble(t, buffer.Options{Capacity: tc.capacity}, func(t *testing.T, c *card, b *stream) {
			for range 3 { // with a worker that is idle, and not even started at first
				var all sync.WaitGroup
				var mu sync.Mutex
				served, refused := 0, 0
				for range tc.want + 10 {
					all.Go(func() {
						_, err := b.Call(t.Context(), 1)
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							served++
							return
						}
						assert.ErrorIs(t, err, buffer.ErrFull)
						refused++
					})
				}
				all.Wait()
				assert.Equal(t, tc.want+1, served, "the one at the handler, and the queue")
				assert.Equal(t, 9, refused)
			}
		})
	}
}

func TestFullBufferRefusesAtOnce(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 1}, func(t *testing.T, c *card, b *stream) {
		begin(t.Context(), b, 1)
		assert.NoError(t, turret.Ready(b))
		begin(t.Context(), b, 2)
		assert.ErrorIs(t, turret.Ready(b), buffer.ErrFull)
		refused := begin(t.Context(), b, 3).wait()
		assert.Zero(t, refused.took)
		assert.EqualError(t, refused.err, "buffer: full: the handler is busy, and its queue of 1 has no room")
		assert.Equal(t, turret.Rejected, turret.Outcome(t.Context(), refused.err))
	})
}

func TestWaitForRoomIsFirstComeFirstServed(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 1, WaitForRoom: time.Minute}, func(t *testing.T, c *card, b *stream) {
		var calls []*call
		for n := range 6 {
			calls = append(calls, begin(t.Context(), b, n))
		}
		assert.NoError(t, turret.Ready(b))
		for _, call := range calls {
			require.NoError(t, call.wait().err)
		}
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5}, c.served)
	})
}

func TestWaitForRoomIsBounded(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 1, WaitForRoom: 3 * time.Second / 2}, func(t *testing.T, c *card, b *stream) {
		begin(t.Context(), b, 1)
		begin(t.Context(), b, 2)
		third, fourth := begin(t.Context(), b, 3), begin(t.Context(), b, 4)
		assert.ErrorIs(t, fourth.wait().err, buffer.ErrFull)
		assert.Equal(t, 3*time.Second/2, fourth.took)
		assert.ErrorContains(t, fourth.err, "has no room in 1.5s")
		assert.NoError(t, third.wait().err, "once let in it waits for its turn as all others do")
		assert.Equal(t, 3*time.Second, third.took)
		assert.Equal(t, []int{1, 2, 3}, c.served)
	})
}

func TestWaitForRoomEndsWithTheContext(t *testing.T) {
	bubble(t, buffer.Options{Capacity: buffer.NoQueue, WaitForRoom: time.Minute}, func(t *testing.T, c *card, b *stream) {
		begin(t.Context(), b, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		second, third := begin(ctx, b, 2), begin(t.Context(), b, 3)
		assert.Equal(t, context.DeadlineExceeded, second.wait().err)
		assert.Equal(t, time.Second/2, second.took)
		assert.NoError(t, third.wait().err)
		assert.Equal(t, []int{1, 3}, c.served)
	})
}

func TestRoomThatALeaverGivesBackGoesToTheNextWhoWaits(t *testing.T) {
	bubble(t, buffer.Options{Capacity: 1, WaitForRoom: time.Second / 2}, func(t *testing.T, c *card, b *stream) {
		begin(t.Context(), b, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/4)
		defer cancel()
		second, third := begin(ctx, b, 2), begin(t.Context(), b, 3)
		assert.Equal(t, context.DeadlineExceeded, second.wait().err)
		assert.NoError(t, third.wait().err)
		assert.Equal(t, []int{1, 3}, c.served)
	})
}

func TestLayerGivesEachServiceItWrapsAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := buffer.Layer[int, int](buffer.Options{})
		c, d := &card{}, &card{}
		first, second := layer(c), layer(d)
		begin(t.Context(), first, 1)
		assert.Equal(t, time.Second, begin(t.Context(), second, 2).wait().took)
		require.NoError(t, turret.Close(first))
		require.NoError(t, turret.Close(second))
		assert.Equal(t, []int{1, 1}, []int{c.closes, d.closes})
	})
}

func TestDescribeAndReadySeeWhatIsBelow(t *testing.T) {
	unwell := readier{&card{}, errCard}
	svc := turret.NewBuilder[int, int]().
		Use(buffer.Layer[int, int](buffer.Options{Capacity: 5, WaitForRoom: time.Second}), opaque).
		Service(unwell)
	assert.Equal(t, "buffer 5, waits 1s for room\nbuffer_test.hidden\ncard", turret.Describe(svc))
	assert.Equal(t, errCard, turret.Ready(svc))
	assert.Equal(t, "buffer 64, refuses when full\ncard", turret.Describe(worker(&card{}, buffer.Options{})))
}

type readier struct {
	*card
	err error
}

func (r readier) Ready() error { return r.err }

// opaque is a layer whose service does not name what it wraps.
func opaque(next turret.Service[int, int]) turret.Service[int, int] { return hidden{next} }

type hidden struct{ next turret.Service[int, int] }

func (h hidden) Call(ctx context.Context, n int) (int, error) { return h.next.Call(ctx, n) }

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		o    buffer.Options
		want string
	}{
		{buffer.Options{}, ""},
		{buffer.Options{Capacity: buffer.NoQueue, WaitForRoom: time.Second}, ""},
		{buffer.Options{Capacity: -2}, "buffer: Capacity is -2; it must be at least 1, 0 for the default of 64, or NoQueue"},
		{buffer.Options{WaitForRoom: -1}, "buffer: WaitForRoom is -1ns; it is a time to wait, or 0 to refuse at once"},
	} {
		err := tc.o.Validate()
		if tc.want == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, tc.want)
		require.PanicsWithError(t, tc.want, func() { buffer.Layer[int, int](tc.o) })
		require.PanicsWithError(t, tc.want, func() { worker(&card{}, tc.o) })
	}
	require.Panics(t, func() { buffer.New[int, int](nil, buffer.Options{}) })
}

// Many callers, who leave when they like, through many streams: no one gets
// another's result, and the card is used by one at a time.
func TestManyCallers(t *testing.T) {
	type echoed = func(context.Context, int) (string, error)
	inUse, served := false, 0
	b := buffer.New(turret.ServiceFunc[int, string](echoed(func(ctx context.Context, n int) (string, error) {
		if inUse {
			panic("used by two at a time")
		}
		inUse = true
		defer func() { inUse = false }()
		served++
		runtime.Gosched()
		return fmt.Sprint(n), nil
	})), buffer.Options{Capacity: 8, WaitForRoom: time.Millisecond})
	var all sync.WaitGroup
	for g := range 64 {
		all.Go(func() {
			mine := b.Clone()
			defer mine.Close()
			for i := range 100 {
				ctx, cancel := context.WithCancel(context.Background())
				if rand.IntN(3) == 0 {
					go cancel()
				}
				n := 1000*g + i
				if resp, err := mine.Call(ctx, n); err == nil {
					assert.Equal(t, fmt.Sprint(n), resp)
				}
				cancel()
			}
		})
	}
	all.Wait()
	require.NoError(t, b.Close())
	assert.NotZero(t, served)
}

func TestAllocatesLittle(t *testing.T) {
	b := buffer.New(turret.ServiceFunc[int, int](func(context.Context, int) (int, error) { return 0, nil }), buffer.Options{})
	defer b.Close()
	ctx := context.Background()
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = b.Call(ctx, 1) }), 6.0)
}
