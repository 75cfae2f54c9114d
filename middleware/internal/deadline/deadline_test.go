package deadline_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret/middleware/internal/deadline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errOwn   = errors.New("own cause")
	errAbove = errors.New("the parent's cause")
)

type key struct{}

// maker makes a context as context.WithTimeoutCause does.
type maker func(parent context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc)

func lazy(parent context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	c := deadline.After(parent, d, cause)
	return c, c.Cancel
}

// makers are the one under test and the one to compare with.
var makers = map[string]maker{"deadline.After": lazy, "context.WithTimeoutCause": context.WithTimeoutCause}

// conform runs a test on both makers.
func conform(t *testing.T, name string, test func(t *testing.T, with maker)) {
	t.Helper()
	for by, with := range makers {
		t.Run(name+" "+by, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, with) })
		})
	}
}

// pass lets time pass, and what is due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func isDone(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// requireEnd requires of ctx, and of contexts made from it now, that they have ended so.
func requireEnd(t *testing.T, ctx context.Context, err, cause error) {
	t.Helper()
	valued := context.WithValue(ctx, key{}, "child")
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	for name, c := range map[string]context.Context{"itself": ctx, "with a value": valued, "child": child} {
		require.Equal(t, err, c.Err(), name)
		require.Equal(t, cause, context.Cause(c), name)
		require.True(t, isDone(c), name)
		require.Equal(t, err, c.Err(), name)
	}
	free := context.WithoutCancel(ctx)
	require.NoError(t, free.Err())
	require.NoError(t, context.Cause(free))
	require.Nil(t, free.Done())
}

func requireAlive(t *testing.T, ctx context.Context) {
	t.Helper()
	require.NoError(t, ctx.Err())
	require.NoError(t, context.Cause(ctx))
	require.NoError(t, context.Cause(context.WithValue(ctx, key{}, 1)))
}

// looks are what somebody may have done with a context by the time it ends.
var looks = map[string]func(t *testing.T, ctx context.Context){
	"unseen":       func(*testing.T, context.Context) {},
	"seen by Err":  func(t *testing.T, ctx context.Context) { requireAlive(t, ctx) },
	"seen by Done": func(t *testing.T, ctx context.Context) { require.False(t, isDone(ctx)) },
}

func TestEndsLikeTheStandardLibrarys(t *testing.T) {
	type end struct{ err, cause error }
	tests := map[string]struct {
		end end
		run func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context
	}{
		"by the deadline": {
			end: end{context.DeadlineExceeded, errOwn},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				ctx, cancel := with(t.Context(), time.Second, errOwn)
				t.Cleanup(cancel)
				look(t, ctx)
				pass(time.Second - 1)
				requireAlive(t, ctx)
				pass(1)
				return ctx
			},
		},
		"by the deadline, without a cause": {
			end: end{context.DeadlineExceeded, context.DeadlineExceeded},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				ctx, cancel := with(t.Context(), time.Second, nil)
				t.Cleanup(cancel)
				look(t, ctx)
				pass(time.Second)
				return ctx
			},
		},
		"by the deadline, canceled after somebody saw it": {
			end: end{context.DeadlineExceeded, errOwn},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				ctx, cancel := with(t.Context(), time.Second, errOwn)
				look(t, ctx)
				pass(time.Second)
				require.Error(t, ctx.Err())
				cancel()
				return ctx
			},
		},
		"at once, with no time": {
			end: end{context.DeadlineExceeded, errOwn},
			run: func(t *testing.T, with maker, _ func(*testing.T, context.Context)) context.Context {
				ctx, cancel := with(t.Context(), 0, errOwn)
				t.Cleanup(cancel)
				return ctx
			},
		},
		"by cancel": {
			end: end{context.Canceled, context.Canceled},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				ctx, cancel := with(t.Context(), time.Second, errOwn)
				look(t, ctx)
				cancel()
				return ctx
			},
		},
		"by cancel, twice, and the deadline passes": {
			end: end{context.Canceled, context.Canceled},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				ctx, cancel := with(t.Context(), time.Second, errOwn)
				look(t, ctx)
				cancel()
				cancel()
				pass(time.Hour)
				return ctx
			},
		},
		"by cancel, and then the parent ends": {
			end: end{context.Canceled, context.Canceled},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				parent, end := context.WithCancelCause(t.Context())
				ctx, cancel := with(parent, time.Second, errOwn)
				look(t, ctx)
				cancel()
				end(errAbove)
				return ctx
			},
		},
		"with its parent": {
			end: end{context.Canceled, errAbove},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				parent, end := context.WithCancelCause(t.Context())
				ctx, cancel := with(parent, time.Second, errOwn)
				t.Cleanup(cancel)
				look(t, ctx)
				end(errAbove)
				return ctx
			},
		},
		"with its parent, and its deadline passes": {
			end: end{context.Canceled, errAbove},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				parent, end := context.WithCancelCause(t.Context())
				ctx, cancel := with(parent, time.Second, errOwn)
				t.Cleanup(cancel)
				look(t, ctx)
				end(errAbove)
				pass(time.Hour)
				return ctx
			},
		},
		"with its parent, canceled before": {
			end: end{context.Canceled, errAbove},
			run: func(t *testing.T, with maker, _ func(*testing.T, context.Context)) context.Context {
				parent, end := context.WithCancelCause(t.Context())
				end(errAbove)
				ctx, cancel := with(parent, time.Second, errOwn)
				t.Cleanup(cancel)
				return ctx
			},
		},
		"by the parent's earlier deadline": {
			end: end{context.DeadlineExceeded, errAbove},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				parent, end := with(t.Context(), time.Second, errAbove)
				t.Cleanup(end)
				ctx, cancel := with(parent, 2*time.Second, errOwn)
				t.Cleanup(cancel)
				look(t, ctx)
				pass(time.Hour)
				return ctx
			},
		},
		"by its own deadline, and the parent's passes": {
			end: end{context.DeadlineExceeded, errOwn},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				parent, end := with(t.Context(), 2*time.Second, errAbove)
				t.Cleanup(end)
				ctx, cancel := with(context.WithValue(parent, key{}, 1), time.Second, errOwn)
				t.Cleanup(cancel)
				look(t, ctx)
				pass(time.Hour)
				return ctx
			},
		},
		"by the deadline of a parent of the standard library": {
			end: end{context.DeadlineExceeded, errAbove},
			run: func(t *testing.T, with maker, look func(*testing.T, context.Context)) context.Context {
				parent, end := context.WithTimeoutCause(t.Context(), time.Second, errAbove)
				t.Cleanup(end)
				ctx, cancel := with(parent, 2*time.Second, errOwn)
				t.Cleanup(cancel)
				look(t, ctx)
				pass(time.Hour)
				return ctx
			},
		},
	}
	for name, test := range tests {
		for looked, look := range looks {
			conform(t, name+", "+looked, func(t *testing.T, with maker) {
				ctx := test.run(t, with, look)
				requireEnd(t, ctx, test.end.err, test.end.cause)
			})
		}
	}
}

// What differs from the standard library: it has a timer, and knows which of two
// ends came first though nobody was looking.
func TestOfTwoUnseenEndsOneIsTold(t *testing.T) {
	t.Run("the parent's, rather than the deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			parent, end := context.WithCancelCause(t.Context())
			ctx, cancel := lazy(parent, time.Second, errOwn)
			defer cancel()
			pass(time.Minute)
			end(errAbove)
			requireEnd(t, ctx, context.Canceled, errAbove)
		})
	})
	t.Run("the parent's, of two deadlines at one instant", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			parent, end := lazy(t.Context(), time.Second, errAbove)
			defer end()
			ctx, cancel := lazy(parent, time.Second, errOwn)
			defer cancel()
			pass(time.Second)
			requireEnd(t, ctx, context.DeadlineExceeded, errAbove)
		})
	})
	t.Run("Cancel, rather than the deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := lazy(t.Context(), time.Second, errOwn)
			pass(time.Minute)
			cancel()
			requireEnd(t, ctx, context.Canceled, context.Canceled)
		})
	})
	t.Run("Cancel, rather than the parent's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			parent, end := context.WithCancelCause(t.Context())
			ctx, cancel := lazy(parent, time.Second, errOwn)
			end(errAbove)
			cancel()
			requireEnd(t, ctx, context.Canceled, context.Canceled)
		})
	})
}

func TestDoneIsClosedAtTheDeadline(t *testing.T) {
	conform(t, "", func(t *testing.T, with maker) {
		start := time.Now()
		ctx, cancel := with(t.Context(), time.Minute, nil)
		defer cancel()
		pass(time.Second)
		<-ctx.Done()
		require.Equal(t, time.Minute, time.Since(start))
	})
}

func TestDeadlineIsTheEarliest(t *testing.T) {
	conform(t, "", func(t *testing.T, with maker) {
		now := time.Now()
		outer, cancel := with(t.Context(), time.Minute, nil)
		defer cancel()
		for d, want := range map[time.Duration]time.Duration{time.Second: time.Second, time.Hour: time.Minute, time.Minute: time.Minute} {
			inner, cancel := with(context.WithValue(outer, key{}, 1), d, nil)
			defer cancel()
			for _, ctx := range []context.Context{inner, context.WithValue(inner, key{}, 1)} {
				at, ok := ctx.Deadline()
				require.True(t, ok)
				require.Equal(t, now.Add(want), at)
			}
			cancel()
			at, _ := inner.Deadline()
			require.Equal(t, now.Add(want), at, "after its end")
		}
	})
}

func TestValuesAreTheParents(t *testing.T) {
	conform(t, "", func(t *testing.T, with maker) {
		parent := context.WithValue(t.Context(), key{}, "above")
		ctx, cancel := with(parent, time.Second, nil)
		check := func() {
			require.Equal(t, "above", ctx.Value(key{}))
			require.Nil(t, ctx.Value("none"))
			require.Equal(t, "above", context.WithoutCancel(ctx).Value(key{}))
		}
		check()
		cancel()
		check()
		ctx, cancel = with(parent, time.Second, nil)
		defer cancel()
		ctx.Done()
		check()
		pass(time.Second)
		check()
	})
}

func TestAfterFuncRunsAtTheEndOnce(t *testing.T) {
	conform(t, "", func(t *testing.T, with maker) {
		ctx, cancel := with(t.Context(), time.Second, errOwn)
		defer cancel()
		ran, stopped := 0, 0
		context.AfterFunc(ctx, func() { ran++ })
		stop := context.AfterFunc(ctx, func() { stopped++ })
		require.True(t, stop())
		require.False(t, stop())
		pass(time.Hour)
		cancel()
		synctest.Wait()
		require.Equal(t, 1, ran)
		require.Zero(t, stopped)
		context.AfterFunc(ctx, func() { ran++ })
		synctest.Wait()
		require.Equal(t, 2, ran)
	})
}

func TestChildrenEndWithIt(t *testing.T) {
	ends := map[string]struct {
		after  func(cancel context.CancelFunc)
		err    error
		causes error
	}{
		"deadline": {func(context.CancelFunc) { pass(time.Second) }, context.DeadlineExceeded, errOwn},
		"cancel":   {func(cancel context.CancelFunc) { cancel() }, context.Canceled, context.Canceled},
	}
	for name, end := range ends {
		conform(t, name, func(t *testing.T, with maker) {
			ctx, cancel := with(t.Context(), time.Second, errOwn)
			defer cancel()
			child, stop := context.WithCancel(ctx)
			defer stop()
			grandchild, stop := with(context.WithValue(child, key{}, 1), time.Hour, errAbove)
			defer stop()
			timed, stop := context.WithTimeoutCause(ctx, time.Hour, errAbove)
			defer stop()
			end.after(cancel)
			for _, c := range []context.Context{child, grandchild, timed} {
				<-c.Done()
				requireEnd(t, c, end.err, end.causes)
			}
		})
	}
}

func TestChildsOwnEndIsItsOwn(t *testing.T) {
	conform(t, "", func(t *testing.T, with maker) {
		ctx, cancel := with(t.Context(), time.Hour, errAbove)
		defer cancel()
		child, stop := with(ctx, time.Second, errOwn)
		defer stop()
		<-child.Done()
		requireEnd(t, child, context.DeadlineExceeded, errOwn)
		requireAlive(t, ctx)
		require.False(t, isDone(ctx))
	})
}

// Not in a bubble: the count is the process's, in which few others come and go.
func TestAChildCostsNoGoroutine(t *testing.T) {
	const children = 1000
	ctx, cancel := lazy(t.Context(), time.Hour, nil)
	defer cancel()
	before := runtime.NumGoroutine()
	for range children {
		child, stop := context.WithCancel(context.WithValue(ctx, key{}, 1))
		defer stop()
		context.AfterFunc(child, func() {})
		grandchild, stop := lazy(child, time.Minute, nil)
		defer stop()
		grandchild.Done()
	}
	require.Less(t, runtime.NumGoroutine(), before+children/2)
}

// Neither a timer nor the parent holds on to a context that was canceled.
func TestNothingIsLeftAfterCancel(t *testing.T) {
	parent, end := context.WithCancel(t.Context())
	defer end()
	for name, use := range map[string]func(ctx context.Context){
		"unseen": func(context.Context) {},
		"Err":    func(ctx context.Context) { _ = ctx.Err() },
		"Done":   func(ctx context.Context) { ctx.Done() },
		"a child": func(ctx context.Context) {
			_, stop := context.WithCancel(ctx)
			stop()
		},
	} {
		held := func() weak.Pointer[deadline.Context] {
			c := deadline.After(parent, time.Hour, nil)
			use(c)
			c.Cancel()
			return weak.Make(c)
		}()
		collected := func() bool { runtime.GC(); return held.Value() == nil }
		require.Eventually(t, collected, 10*time.Second, time.Millisecond, name)
	}
}

func TestOneAllocationUntilSomebodyAsksForDone(t *testing.T) {
	parent, end := context.WithCancel(t.Context())
	defer end()
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		c := deadline.After(parent, time.Hour, nil)
		_ = c.Err()
		c.Value(key{})
		c.Deadline()
		c.Cancel()
		c.Cancel()
	}), 1.0)
}

// foreign is a parent that the standard library knows nothing of, and so has to
// watch in a goroutine for each child.
type foreign struct{ context.Context }

func (f foreign) Value(any) any { return nil }

// Of all who look at once, and of a Cancel among them, each sees one and the same
// end. Under a foreign parent, what was made in vain and not ended would leave a
// goroutine behind, for which the bubble fails.
func TestConcurrentLooksAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, end := context.WithCancel(context.Background())
		for range 500 {
			ctx, cancel := lazy(foreign{parent}, time.Hour, nil)
			var (
				all  sync.WaitGroup
				done [4]<-chan struct{}
			)
			for i := range done {
				all.Go(func() {
					err := ctx.Err()
					done[i] = ctx.Done()
					child, stop := context.WithCancel(ctx)
					defer stop()
					if err != nil {
						assert.True(t, isDone(ctx))
						assert.Equal(t, err, child.Err())
					}
					<-child.Done()
					assert.Equal(t, context.Canceled, context.Cause(child))
				})
			}
			all.Go(cancel)
			all.Go(cancel)
			all.Wait()
			for _, d := range done {
				assert.Equal(t, done[0], d)
			}
			requireEnd(t, ctx, context.Canceled, context.Canceled)
		}
		synctest.Wait()
		buf := make([]byte, 1<<16)
		require.NotContains(t, string(buf[:runtime.Stack(buf, true)]), "propagateCancel")
		end()
	})
}

func TestConcurrentLooksAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 200 {
			parent, end := lazy(t.Context(), time.Second+1, errAbove)
			ctx, cancel := lazy(parent, time.Second, errOwn)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					<-time.After(time.Second)
					assert.Equal(t, context.DeadlineExceeded, ctx.Err())
					assert.Equal(t, errOwn, context.Cause(ctx))
					<-ctx.Done()
				})
			}
			all.Wait()
			cancel()
			end()
		}
	})
}

func TestStringNamesTheParents(t *testing.T) {
	ctx, cancel := lazy(context.Background(), time.Hour, nil)
	defer cancel()
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	require.Regexp(t, `^context\.Background\.WithDeadline\(.*\)\.WithCancel$`, fmt.Sprint(child))
}
