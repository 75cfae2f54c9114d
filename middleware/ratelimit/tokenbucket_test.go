package ratelimit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
)

// waiting is a call to Wait under way in a goroutine of its own.
type waiting struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	took   time.Duration
}

// queue has someone wait, and returns when they are in the queue or through.
func queue(limiter ratelimit.Limiter, max time.Duration) *waiting {
	ctx, cancel := context.WithCancel(context.Background())
	w := &waiting{cancel: cancel, done: make(chan struct{})}
	start := time.Now()
	go func() {
		defer close(w.done)
		defer cancel()
		w.err = limiter.Wait(ctx, max)
		w.took = time.Since(start)
	}()
	synctest.Wait()
	return w
}

// admitted waits for w and asserts that it got its token after d.
func (w *waiting) admitted(t *testing.T, d time.Duration) {
	t.Helper()
	<-w.done
	assert.NoError(t, w.err)
	assert.Equal(t, d, w.took)
}

// drain takes all the tokens there are and returns their number.
func drain(limiter ratelimit.Limiter) (n int) {
	for limiter.Wait(context.Background(), ratelimit.NoWait) == nil {
		n++
	}
	return n
}

// empty returns a bucket that has just run dry.
func empty(limit rate.Limit, burst int) *ratelimit.TokenBucket {
	b := ratelimit.New(limit, burst)
	drain(b)
	return b
}

// assertWithin asserts that no stretch of time saw more than rate × time +
// burst of the moments in which calls were let in.
func assertWithin(t *testing.T, moments []time.Duration, limit, burst float64) {
	t.Helper()
	for i := range moments {
		for j := i; j < len(moments); j++ {
			most := (moments[j]-moments[i]).Seconds()*limit + burst
			if n := float64(j - i + 1); n > most+1e-6 {
				t.Fatalf("%v calls between %v and %v, and at most %v are allowed", n, moments[i], moments[j], most)
			}
		}
	}
}

func TestNoDoubleRateAcrossTheEdgeOfAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, burst = 100, 10
		b, start := ratelimit.New(limit, burst), time.Now()
		var moments []time.Duration
		for range 3000 {
			for range drain(b) {
				moments = append(moments, time.Since(start))
			}
			<-time.After(time.Millisecond)
		}
		assertWithin(t, moments, limit, burst)
		assert.Len(t, moments, 3*limit+burst-1, "and the quota is used in full")
	})
}

func TestBucketStartsFullAndHoldsNoMoreThanItsBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := ratelimit.New(100, 7)
		assert.Equal(t, 7, drain(b))
		<-time.After(time.Hour)
		assert.Equal(t, 7, drain(b))
	})
}

func TestDefaultBurstIsATenthOfASecondsWorth(t *testing.T) {
	for limit, burst := range map[rate.Limit]int{500: 50, 25: 2, 10: 1, 0.1: 1, 1e300: 1<<31 - 1} {
		assert.Equal(t, burst, ratelimit.New(limit, 0).Burst(), "%v/s", limit)
	}
}

func TestWaitThatCannotFitIsRefusedAtOnce(t *testing.T) {
	second := func(d time.Duration) func() (context.Context, context.CancelFunc) {
		return func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), d)
		}
	}
	never := func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }
	for _, tt := range []struct {
		name     string
		ahead    int // in the queue, with a token a second
		ctx      func() (context.Context, context.CancelFunc)
		max      time.Duration
		refused  bool
		patience time.Duration
	}{
		{"deadline before the first token", 0, second(900 * time.Millisecond), 0, true, 900*time.Millisecond - 1},
		{"deadline at the first token", 0, second(time.Second), 0, true, time.Second - 1},
		{"deadline after the first token", 0, second(time.Second + 1), 0, false, 0},
		{"deadline before its own token", 3, second(3900 * time.Millisecond), 0, true, 3900*time.Millisecond - 1},
		{"deadline after its own token", 3, second(4100 * time.Millisecond), 0, false, 0},
		{"MaxWait before the first token", 0, never, 900 * time.Millisecond, true, 900 * time.Millisecond},
		{"MaxWait at the first token", 0, never, time.Second, false, 0},
		{"MaxWait before its own token", 3, never, 3900 * time.Millisecond, true, 3900 * time.Millisecond},
		{"MaxWait before the deadline", 3, second(time.Minute), time.Second, true, time.Second},
		{"MaxWait after the deadline", 3, second(time.Second), time.Minute, true, time.Second - 1},
		{"NoWait", 0, never, ratelimit.NoWait, true, 0},
		{"NoWait with a deadline", 3, second(time.Minute), ratelimit.NoWait, true, 0},
		{"any negative bound", 3, never, -time.Hour, true, 0},
		{"longest bound there is", 3, never, 1<<63 - 1, false, 0},
		{"no bound", 3, never, 0, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := empty(1, 1)
				for range tt.ahead {
					defer queue(b, 0).cancel()
				}
				ctx, cancel := tt.ctx()
				defer cancel()
				start, expected := time.Now(), time.Duration(tt.ahead+1)*time.Second

				err := b.Wait(ctx, tt.max)
				if !tt.refused {
					assert.NoError(t, err)
					assert.Equal(t, expected, time.Since(start))
					return
				}
				assert.Zero(t, time.Since(start), "refused at once")
				assert.ErrorIs(t, err, ratelimit.ErrLimited)
				assert.Equal(t, turret.Rejected, turret.Classify(err))
				after, ok := turret.RetryAfter(err)
				assert.True(t, ok)
				assert.Equal(t, expected, after)
				var refusal *ratelimit.Error
				require.ErrorAs(t, err, &refusal)
				assert.Equal(t, tt.patience, refusal.Patience)
			})
		})
	}
}

func TestRetryAfterIsLongEnoughAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		for range 1000 {
			b := empty(rate.Limit(random.ExpFloat64()*50+0.01), 1)
			<-time.After(time.Duration(random.Int64N(1e6)))
			after, ok := turret.RetryAfter(b.Wait(t.Context(), ratelimit.NoWait))
			if !ok {
				continue // a token had come
			}
			<-time.After(after - 1)
			if err := b.Check(ratelimit.NoWait); err != nil {
				after, _ := turret.RetryAfter(err)
				assert.LessOrEqual(t, after, time.Duration(1))
			}
			<-time.After(1)
			require.NoError(t, b.Wait(t.Context(), ratelimit.NoWait), "%v", b)
		}
	})
}

func TestRetryAfterRoundsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after, _ := turret.RetryAfter(empty(3, 1).Check(ratelimit.NoWait))
		assert.Equal(t, time.Second/3+1, after)
	})
}

func TestContextThatEndsWhileWaitingIsTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(1, 1)
		w := queue(b, 0)
		<-time.After(time.Second / 2)
		w.cancel()
		<-w.done
		assert.Equal(t, context.Canceled, w.err)
		assert.Equal(t, time.Second/2, w.took, "and at once")
	})
}

func TestContextThatHasEndedTakesNoToken(t *testing.T) {
	b := ratelimit.New(1, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	assert.Equal(t, context.Canceled, b.Wait(ctx, 0))
	assert.Equal(t, 1, drain(b))
}

// endsUnheard is a context whose end at a moment only Err tells: Done, in a
// select with the token of that same moment, always loses.
type endsUnheard struct {
	context.Context
	end time.Time
}

func (c endsUnheard) Err() error {
	if time.Now().Before(c.end) {
		return nil
	}
	return context.Canceled
}

func TestTokenThatComesAsTheContextEndsIsForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(1, 1)
		ctx := endsUnheard{context.Background(), time.Now().Add(time.Second)}
		assert.Equal(t, context.Canceled, b.Wait(ctx, 0))
		assert.Equal(t, 1, drain(b))
	})
}

func TestCancelledWaiterGivesItsTokenBack(t *testing.T) {
	const waiters = 5 // all queued behind one another, with a token a second
	for leaves := range waiters {
		t.Run(fmt.Sprintf("place %d of %d", leaves+1, waiters), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := empty(1, 1)
				var ws []*waiting
				for range waiters {
					ws = append(ws, queue(b, 0))
				}
				<-time.After(time.Second / 2)
				ws[leaves].cancel()
				<-ws[leaves].done
				for i, w := range slices.Delete(ws, leaves, leaves+1) {
					w.admitted(t, time.Duration(i+1)*time.Second)
				}
			})
		})
	}
}

func TestPlaceGivenUpLetsANewcomerFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(1, 1)
		first, second := queue(b, 0), queue(b, 0)
		assert.ErrorIs(t, b.Check(2*time.Second), ratelimit.ErrLimited)
		first.cancel()
		<-first.done
		queue(b, 2*time.Second).admitted(t, 2*time.Second)
		second.admitted(t, time.Second)
	})
}

func TestLoweringTheRateSlowsThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(1, 1)
		first, second := queue(b, 0), queue(b, 0)
		<-time.After(time.Second / 2)
		require.NoError(t, b.SetRate(0.1, 1))
		first.admitted(t, 5500*time.Millisecond) // half a token was there
		second.admitted(t, 15500*time.Millisecond)
	})
}

func TestRaisingTheRateHastensThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(0.001, 1)
		first, second := queue(b, 0), queue(b, 0)
		<-time.After(time.Second)
		require.NoError(t, b.SetRate(1, 1))
		first.admitted(t, 1999*time.Millisecond)
		second.admitted(t, 2999*time.Millisecond)
	})
}

func TestLoweringTheRateRefusesAtOnceWhoNoLongerFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(1, 1)
		hasty := queue(b, time.Second)
		patient := queue(b, time.Minute)
		alsoHasty := queue(b, 5*time.Second)
		last := queue(b, 0)
		require.NoError(t, b.SetRate(0.1, 1))
		for _, w := range []*waiting{hasty, alsoHasty} {
			<-w.done
			assert.ErrorIs(t, w.err, ratelimit.ErrLimited)
			assert.Zero(t, w.took)
		}
		after, _ := turret.RetryAfter(alsoHasty.err)
		assert.Equal(t, 20*time.Second, after, "behind the patient one, and not the hasty")
		patient.admitted(t, 10*time.Second)
		last.admitted(t, 20*time.Second)
	})
}

func TestSetRateRefusesWhatNewPanicsOnAndChangesNothing(t *testing.T) {
	b := ratelimit.New(10, 5)
	assert.Error(t, b.SetRate(0, 1))
	assert.Error(t, b.SetRate(1, -1))
	assert.Equal(t, rate.Limit(10), b.Rate())
	assert.Equal(t, 5, b.Burst())
	assert.Panics(t, func() { ratelimit.New(0, 1) })
	assert.Panics(t, func() { ratelimit.New(1, -1) })
}

func TestThousandWaitersAreServedInTheOrderTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(1000, 1)
		var served []int // one at a time goes through, a millisecond apart
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				assert.NoError(t, b.Wait(context.Background(), 0))
				mu.Lock()
				defer mu.Unlock()
				served = append(served, i)
			})
			synctest.Wait()
		}
		start := time.Now()
		all.Wait()
		assert.Equal(t, time.Second, time.Since(start), "with no time lost from one to the next")
		assert.Len(t, served, 1000)
		assert.True(t, slices.IsSorted(served))
	})
}

func TestNewcomerDoesNotOvertakeTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, hold, asked := empty(1, 1), make(chan struct{}), 0
		head := make(chan error)
		go func() {
			head <- b.WaitReady(context.Background(), 0, func() error {
				if asked++; asked > 1 {
					<-hold
				}
				return nil
			})
		}()
		<-time.After(time.Minute)
		assert.ErrorIs(t, b.Wait(t.Context(), ratelimit.NoWait), ratelimit.ErrLimited,
			"there is a token, and it is for the one who was first")
		close(hold)
		assert.NoError(t, <-head)
	})
}

// Callers come, wait, give up and are refused at random while the rate goes up
// and down.
func TestRandomCancelsNeitherLoseATokenNorMakeOne(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				limit, burst := rate.Limit(50+random.IntN(100)), 1+random.IntN(20)
				b, start := ratelimit.New(limit, burst), time.Now()
				var mu sync.Mutex
				var moments []time.Duration
				wait := func(ctx context.Context, max time.Duration) {
					if b.Wait(ctx, max) == nil {
						mu.Lock()
						defer mu.Unlock()
						moments = append(moments, time.Since(start))
					}
				}
				var all sync.WaitGroup
				for i := range 600 {
					if i%50 == 0 { // down from limit, and up again
						require.NoError(t, b.SetRate(limit*rate.Limit(1-random.Float64()), burst))
					}
					<-time.After(time.Duration(random.ExpFloat64() * float64(5*time.Millisecond)))
					patience := time.Duration(random.ExpFloat64() * float64(200*time.Millisecond))
					switch random.IntN(4) {
					case 0: // a bound it says
						all.Go(func() { wait(context.Background(), patience) })
					case 1: // a deadline it says
						ctx, cancel := context.WithTimeout(context.Background(), patience)
						all.Go(func() { defer cancel(); wait(ctx, 0) })
					default: // a cancel that nobody can foresee
						ctx, cancel := context.WithCancel(context.Background())
						time.AfterFunc(patience, cancel)
						all.Go(func() { wait(ctx, 0) })
					}
				}
				all.Wait()
				assertWithin(t, moments, float64(limit), float64(burst))

				// So many stay that the bucket never fills up, however many
				// leave: every token of a second must have gone to somebody.
				require.NoError(t, b.SetRate(limit, burst))
				drain(b)
				var served atomic.Int32
				for range 3 * int(limit) {
					patience := time.Second + 1
					if random.IntN(2) == 0 {
						patience = time.Duration(random.Int64N(int64(patience)))
					}
					ctx, cancel := context.WithCancel(context.Background())
					time.AfterFunc(patience, cancel)
					all.Go(func() {
						if b.Wait(ctx, 0) == nil {
							served.Add(1)
						}
					})
				}
				all.Wait()
				assert.InDelta(t, float64(limit), served.Load(), 1)

				<-time.After(time.Minute)
				assert.Equal(t, burst, drain(b), "a full bucket after all have gone")
			})
		})
	}
}

func TestReadyIsAskedAgainBeforeATokenIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(1, 1)
		var open atomic.Bool
		ready := func() error {
			if open.Load() {
				return errOpen
			}
			return nil
		}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { assert.Equal(t, errOpen, b.WaitReady(context.Background(), 0, ready)) })
		}
		synctest.Wait()
		open.Store(true)
		start := time.Now()
		all.Wait()
		assert.Equal(t, time.Second, time.Since(start), "all three learn it as the first token comes")
		assert.Equal(t, 1, drain(b), "which nobody took")
	})
}

func TestPanicOrGoexitInReadyLeavesTheQueue(t *testing.T) {
	for name, leave := range map[string]func(){
		"panic":  func() { panic("in Ready") },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := empty(1, 1)
				asked := 0
				go func() {
					defer func() { _ = recover() }()
					_ = b.WaitReady(context.Background(), 0, func() error {
						if asked++; asked > 1 {
							leave()
						}
						return nil
					})
				}()
				synctest.Wait()
				queue(b, 0).admitted(t, time.Second)
			})
		})
	}
}

func TestMaxWaitHoldsEvenBehindAHeadThatDoesNotMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stuck, asked := empty(1, 1), make(chan struct{}), 0
		go func() {
			_ = b.WaitReady(context.Background(), 0, func() error {
				if asked++; asked > 1 {
					<-stuck
				}
				return nil
			})
		}()
		synctest.Wait()
		w := queue(b, 3*time.Second)
		<-w.done
		assert.ErrorIs(t, w.err, ratelimit.ErrLimited)
		assert.Equal(t, 3*time.Second+1, w.took)
		close(stuck)
	})
}

// In real time and on all processors, for the race detector.
func TestConcurrentUse(t *testing.T) {
	b := ratelimit.New(1e5, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for ctx.Err() == nil {
				switch i {
				case 0:
					assert.NoError(t, b.SetRate(rate.Limit(1e4+rand.Float64()*1e5), 1))
				case 1:
					_ = b.Check(time.Microsecond)
				case 2:
					short, cancel := context.WithTimeout(ctx, 20*time.Microsecond)
					_ = b.Wait(short, 0)
					cancel()
				default:
					_ = b.Wait(ctx, time.Duration(i-4)*10*time.Microsecond)
				}
			}
		})
	}
	all.Wait()
	assert.NoError(t, b.Wait(context.Background(), time.Minute), "nobody holds the queue up")
}
