package fleet

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
)

// hungry has callers that each take tokens one after the other, until stop, and
// tells of each.
func hungry(t *testing.T, l *Limiter, callers int, took func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				err := l.Wait(ctx, 0)
				if ctx.Err() != nil {
					return
				}
				if !assert.NoError(t, err) {
					return
				}
				took()
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// tally counts, and finds the most of any stretch of time.
type tally struct {
	mu    sync.Mutex
	times []time.Time
}

func (c *tally) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times = append(c.times, time.Now())
}

func (c *tally) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.times)
}

// excess returns by how many calls the busiest stretch of any length goes
// beyond rate × its length.
func (c *tally) excess(rate float64) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var level, most float64 // a bucket that leaks at rate
	for i, at := range c.times {
		if i > 0 {
			level = max(0, level-at.Sub(c.times[i-1]).Seconds()*rate)
		}
		level++
		most = max(most, level)
	}
	return most
}

func TestReplicasShareOneQuotaEvenlyAndUseAllOfIt(t *testing.T) {
	tests := map[string]struct {
		rate     rate.Limit
		burst    int
		replicas int
		use      float64 // of the quota, at least
		asks     float64 // of Redis a call, at most
	}{
		"one":            {500, 0, 1, 0.99, 0.15},
		"three":          {500, 0, 3, 0.99, 0.3},
		"ten":            {5000, 0, 10, 0.99, 0.1},
		"small burst":    {500, 10, 3, 0.97, 1},
		"a few a second": {20, 0, 3, 0.97, 12},
		"broken rate":    {33.3, 0, 2, 0.97, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := LimiterOptions{Rate: test.rate, Burst: test.burst, Replicas: test.replicas}.withDefaults()
				g := newGCRA(o)
				var all tally
				each := make([]tally, test.replicas)
				var stops []func()
				for i := range test.replicas {
					l := newLimiter(o, g)
					defer l.Close()
					stops = append(stops, hungry(t, l, 50, func() { all.add(); each[i].add() }))
				}
				const seconds = 60
				<-time.After(seconds * time.Second)
				for _, stop := range stops {
					stop()
				}
				quota := float64(test.rate) * seconds
				assert.GreaterOrEqual(t, float64(all.count()), test.use*quota)
				assert.LessOrEqual(t, all.excess(float64(test.rate)), float64(o.Burst)+float64(test.rate)*lifetime.Seconds()+1)
				for i := range each {
					fair := float64(all.count()) / float64(test.replicas)
					chance := 0.2*fair + 4*math.Sqrt(fair) // who comes when is random
					assert.InDelta(t, fair, each[i].count(), chance, "replica %d", i)
				}
				calls, grants := g.counts()
				assert.LessOrEqual(t, float64(calls), test.asks*float64(all.count()))
				t.Logf("used %.2f%%, %d calls of Redis, %d granted", 100*float64(all.count())/quota, calls, grants)
			})
		})
	}
}

func TestNothingIsFetchedAheadWhileTokensAreScarce(t *testing.T) {
	o := LimiterOptions{Rate: 500}.withDefaults()
	now := time.Now()
	asksFor := func(scarce bool) int {
		tokens := newTokens(o)
		tokens.scarce, tokens.used, tokens.usual, tokens.asked = scarce, 20, 20, now.Add(-interval)
		n, _ := tokens.next(3, now)
		return n
	}
	assert.Equal(t, 3, asksFor(true), "for those who wait")
	assert.Equal(t, 23, asksFor(false), "for what is usually used until the next time, too")
}

// A replica that wants less than its share gets what it wants, and the others
// get the rest.
func TestAReplicaThatWantsLittleGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 500, Replicas: 2}.withDefaults()
		g := newGCRA(o)
		busy, quiet := newLimiter(o, g), newLimiter(o, g)
		defer busy.Close()
		defer quiet.Close()
		var c tally
		stop := hungry(t, busy, 100, c.add)
		start := time.Now()
		for range 100 {
			require.NoError(t, quiet.Wait(context.Background(), 500*time.Millisecond))
			<-time.After(100 * time.Millisecond)
		}
		elapsed := time.Since(start).Seconds()
		stop()
		assert.Greater(t, float64(c.count()), 0.95*(500*elapsed-100))
	})
}

func TestRedisIsAskedFarLessThanOnceACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 1000}.withDefaults()
		g := newGCRA(o)
		l := newLimiter(o, g)
		defer l.Close()
		for range 4000 { // 400 a second, 10 s
			require.NoError(t, l.Wait(context.Background(), 0))
			<-time.After(2500 * time.Microsecond)
		}
		calls, grants := g.counts()
		assert.Less(t, calls, 4000/10)
		assert.Less(t, grants, 4000*110/100, "few tokens are fetched in vain")
	})
}

func TestRareCallsFetchOneTokenEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 1000}.withDefaults()
		g := newGCRA(o)
		l := newLimiter(o, g)
		defer l.Close()
		for range 20 {
			require.NoError(t, l.Wait(context.Background(), ratelimit.NoWait))
			<-time.After(time.Second)
		}
		calls, grants := g.counts()
		assert.Equal(t, 20, calls)
		assert.Equal(t, 20, grants)
	})
}

func TestFetchedTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 100, Burst: 10}.withDefaults()
		g := newGCRA(o)
		l := newLimiter(o, g)
		defer l.Close()
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { assert.ErrorIs(t, l.WaitReady(ctx, 0, canceledLater(ctx)), context.Canceled) })
		}
		synctest.Wait()
		cancel() // while Redis is asked for five
		wg.Wait()
		<-time.After(lifetime - time.Millisecond)
		_, granted := g.counts()
		require.Positive(t, granted)
		assert.NoError(t, l.Check(ratelimit.NoWait))
		g.set(func(g *gcra) { g.hangs = true })
		require.NoError(t, l.Wait(context.Background(), 0), "what the canceled were to get is there")
		require.NoError(t, l.Err())
		held := func() (n int) {
			l.queue.Update(func(_ int, now time.Time) bool {
				n = l.tokens.held(now)
				return false
			})
			return n
		}
		l.queue.Update(func(_ int, now time.Time) bool { return l.tokens.grant(5, 5, 0, now) })
		<-time.After(lifetime - time.Millisecond)
		require.GreaterOrEqual(t, held(), 5)
		<-time.After(time.Millisecond)
		assert.Zero(t, held())
	})
}

// canceledLater is a Ready that is nil as long as ctx lives.
func canceledLater(ctx context.Context) func() error { return ctx.Err }

func TestAWaitThatCannotEndInTimeIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 1, Burst: 1}.withDefaults()
		l := newLimiter(o, newGCRA(o))
		defer l.Close()
		require.NoError(t, l.Wait(context.Background(), 0))
		require.Error(t, l.Wait(context.Background(), 100*time.Millisecond)) // learns from Redis

		start := time.Now()
		for _, max := range []time.Duration{500 * time.Millisecond, ratelimit.NoWait} {
			err := l.Wait(context.Background(), max)
			require.ErrorIs(t, err, ratelimit.ErrLimited)
			assert.Equal(t, turret.Rejected, turret.Classify(err))
			after, ok := turret.RetryAfter(err)
			require.True(t, ok)
			assert.InDelta(t, 1, after.Seconds(), 0.1)
			assert.ErrorIs(t, l.Check(max), ratelimit.ErrLimited)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, l.Wait(ctx, 0), ratelimit.ErrLimited)
		assert.Equal(t, start, time.Now())
		assert.NoError(t, l.Wait(context.Background(), 2*time.Second))
	})
}

func TestRefusalsReckonWithWhatTheOthersTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 500}.withDefaults()
		g := newGCRA(o)
		var limiters []*Limiter
		for range 10 {
			l := newLimiter(o, g)
			defer l.Close()
			limiters = append(limiters, l)
			defer hungry(t, l, 50, func() {})()
		}
		<-time.After(10 * time.Second)
		for _, l := range limiters { // each has 50 who wait, and gets 50 a second
			after, ok := turret.RetryAfter(l.Check(200 * time.Millisecond))
			require.True(t, ok)
			assert.InDelta(t, 1, after.Seconds(), 0.7)
			assert.NoError(t, l.Check(4*time.Second))
		}
	})
}

func TestCallersAreServedInTheOrderTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 100, Burst: 10}.withDefaults()
		l := newLimiter(o, newGCRA(o))
		defer l.Close()
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 30 {
			asked := 0
			ready := func() error { // asked before it queues, and at the head of the queue
				mu.Lock()
				defer mu.Unlock()
				if asked++; asked > 1 && !slices.Contains(order, i) {
					order = append(order, i)
				}
				return nil
			}
			wg.Go(func() { assert.NoError(t, l.WaitReady(context.Background(), 0, ready)) })
			synctest.Wait()
		}
		wg.Wait()
		assert.GreaterOrEqual(t, len(order), 15, "most of them queued")
		assert.IsIncreasing(t, order)
	})
}

func TestWithoutRedisTheLocalShareIsUsedAndThenRedisAgain(t *testing.T) {
	ills := map[string]struct {
		set  func(*gcra)
		says string
	}{
		"an error":          {func(g *gcra) { g.err = errors.New("OOM command not allowed") }, "OOM"},
		"no answer":         {func(g *gcra) { g.hangs = true }, "no answer from Redis in 50ms"},
		"a deaf client":     {func(g *gcra) { g.deaf = true }, "no answer from Redis in 50ms"},
		"a slow Redis":      {func(g *gcra) { g.roundTrip = time.Second }, "no answer from Redis in 50ms"},
		"a clock gone back": {func(g *gcra) { g.tat = time.Now().Add(time.Hour) }, `clock went back, or the key has been used with another Rate; to count anew, delete "rate:kms"`},
	}
	for name, ill := range ills {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var lost []error
				var found []time.Duration
				o := LimiterOptions{
					Key: "kms", Rate: 500, Replicas: 5,
					OnFallback: func(err error) { lost = append(lost, err) },
					OnRecover:  func(d time.Duration) { found = append(found, d) },
				}.withDefaults()
				g := newGCRA(o)
				l := newLimiter(o, g)
				defer l.Close()
				var c tally
				stop := hungry(t, l, 50, c.add)
				<-time.After(5 * time.Second)
				require.NoError(t, l.Err())

				g.set(ill.set)
				before := c.count()
				<-time.After(10 * time.Second)
				synctest.Wait()
				require.ErrorContains(t, l.Err(), ill.says)
				assert.Contains(t, l.State().String(), "ratelimit=[shared=false rate=100 burst=10 fetched=0 queue=")
				got := float64(c.count() - before)
				assert.GreaterOrEqual(t, got, 100*9.8)
				assert.LessOrEqual(t, got, 100*10+50.+50) // the share, what was fetched, the local burst
				require.Len(t, lost, 1)
				assert.Empty(t, found)

				g.set(func(g *gcra) {
					if g.deaf {
						close(g.heal)
					}
					g.err, g.hangs, g.deaf, g.roundTrip, g.tat = nil, false, false, time.Millisecond, time.Time{}
				})
				<-time.After(maxProbe + time.Second)
				synctest.Wait()
				require.NoError(t, l.Err())
				assert.Contains(t, l.State().String(), "ratelimit=[shared=true rate=500 burst=50 fetched=")
				require.Len(t, found, 1)
				assert.Greater(t, found[0], 9800*time.Millisecond) // 10 s, but for how soon it was missed
				assert.Less(t, found[0], 10*time.Second+maxProbe+200*time.Millisecond)
				before = c.count()
				<-time.After(5 * time.Second)
				stop()
				assert.InDelta(t, 500*5, c.count()-before, 100)
				assert.Len(t, lost, 1)
			})
		})
	}
}

// usedByHungryFleet returns which part of the quota o.Replicas use in a minute, of
// which each wants more than there is.
func usedByHungryFleet(t *testing.T, o LimiterOptions, g *gcra) float64 {
	t.Helper()
	var c tally
	var stops []func()
	for range o.Replicas {
		l := newLimiter(o, g)
		defer l.Close()
		stops = append(stops, hungry(t, l, 30, c.add))
	}
	<-time.After(time.Minute)
	for _, stop := range stops {
		stop()
	}
	return float64(c.count()) / (60 * float64(o.Rate))
}

func TestASlowRedisThatAnswersInTimeIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 500, Replicas: 3, OnFallback: func(err error) { t.Error(err) }}.withDefaults()
		g := newGCRA(o)
		g.roundTrip = 45 * time.Millisecond
		used := usedByHungryFleet(t, o, g)
		assert.Less(t, used, 1.02)
		assert.Greater(t, used, 0.9)
	})
}

// Of those who have an answer in time, each would take what is left of the quota,
// and the others use their shares.
func TestARedisThatIsLateNowAndThenDoesNotStretchTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 500, Replicas: 3}.withDefaults()
		g := newGCRA(o)
		g.late = 20
		used := usedByHungryFleet(t, o, g)
		assert.Less(t, used, 1.06)
		assert.Greater(t, used, 0.97)
	})
}

func TestWhatIsGivenBackAfterAnOutageIsBounded(t *testing.T) {
	for outage, most := range map[time.Duration]int{
		500 * time.Millisecond: 10 + 20, // a burst, and a fifth of a second of a fifth of the quota
		time.Minute:            0,
	} {
		synctest.Test(t, func(t *testing.T) {
			o := LimiterOptions{Rate: 500, Replicas: 5}.withDefaults()
			g := newGCRA(o)
			var l *Limiter
			owed := func() (n int) {
				l.queue.Update(func(int, time.Time) bool { n = l.tokens.owed; return false })
				return n
			}
			back := make(chan int, 1)
			o.OnRecover = func(time.Duration) { back <- owed() } // before Redis is asked again
			l = newLimiter(o, g)
			defer l.Close()
			var c tally
			defer hungry(t, l, 50, c.add)()
			g.set(func(g *gcra) { g.err = errors.New("OOM command not allowed") })
			<-time.After(outage)
			require.Equal(t, 30, owed())
			g.set(func(g *gcra) { g.err = nil })
			require.LessOrEqual(t, <-back, most, "after %v", outage)
		})
	}
}

func TestAClientThatDoesNotTryAgainSaysWhyRedisIsGone(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	l := NewLimiter(LimiterOptions{Client: client, Key: "kms", Rate: 10, Timeout: 300 * time.Millisecond})
	defer l.Close()
	require.NoError(t, l.Wait(t.Context(), 0))
	require.ErrorContains(t, l.Err(), "dial tcp 127.0.0.1:1: ")
}

func TestAHungRedisHoldsNobodyBeyondTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 100, Replicas: 1, Timeout: 20 * time.Millisecond}.withDefaults()
		g := newGCRA(o)
		g.hangs = true
		l := newLimiter(o, g)
		defer l.Close()
		start := time.Now()
		require.NoError(t, l.Wait(context.Background(), ratelimit.NoWait))
		assert.LessOrEqual(t, time.Since(start), 21*time.Millisecond)
		start = time.Now()
		require.NoError(t, l.Wait(context.Background(), ratelimit.NoWait))
		assert.Equal(t, start, time.Now())
		calls, _ := g.counts()
		assert.Equal(t, 1, calls)
	})
}

func TestCloseLeavesTheLocalShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := LimiterOptions{Rate: 10, Replicas: 1, OnFallback: func(error) { t.Error("Close is no fallback") }}.withDefaults()
		g := newGCRA(o)
		g.hangs = true
		l := newLimiter(o, g)
		waits := make(chan error, 1)
		go func() { waits <- l.Wait(context.Background(), 0) }()
		synctest.Wait()
		start := time.Now()
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		require.NoError(t, <-waits)
		assert.Equal(t, start, time.Now())
		require.NoError(t, l.Wait(context.Background(), 0))
		assert.ErrorIs(t, l.Err(), errClosed)
		calls, _ := g.counts()
		assert.Equal(t, 1, calls)
	})
}

func TestValidateRefusesWhatCannotWork(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	good := LimiterOptions{Client: client, Key: "kms", Rate: 500}
	require.NoError(t, good.Validate())
	tests := map[string]struct {
		change func(*LimiterOptions)
		says   string
	}{
		"no client":         {func(o *LimiterOptions) { o.Client = nil }, "Client is nil"},
		"a nil client":      {func(o *LimiterOptions) { o.Client = (*redis.ClusterClient)(nil) }, "Client is nil"},
		"no key":            {func(o *LimiterOptions) { o.Key = "" }, "Key is empty"},
		"no rate":           {func(o *LimiterOptions) { o.Rate = 0 }, "Rate is 0"},
		"NaN":               {func(o *LimiterOptions) { o.Rate = rate.Limit(math.NaN()) }, "Rate is NaN"},
		"infinite":          {func(o *LimiterOptions) { o.Rate = rate.Inf }, "Rate is infinite"},
		"negative rate":     {func(o *LimiterOptions) { o.Rate = -1 }, "Rate is -1"},
		"too rare":          {func(o *LimiterOptions) { o.Rate = 1e-9 }, "one a day"},
		"too many":          {func(o *LimiterOptions) { o.Rate = 1e9 }, "a million"},
		"negative burst":    {func(o *LimiterOptions) { o.Burst = -1 }, "Burst is -1"},
		"huge burst":        {func(o *LimiterOptions) { o.Burst = math.MaxInt32 }, "a million"},
		"negative replicas": {func(o *LimiterOptions) { o.Replicas = -1 }, "Replicas is -1"},
		"negative timeout":  {func(o *LimiterOptions) { o.Timeout = -1 }, "Timeout is -1ns"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := good
			test.change(&o)
			require.ErrorContains(t, o.Validate(), test.says)
			assert.PanicsWithError(t, o.Validate().Error(), func() { NewLimiter(o) })
		})
	}
}

func TestLimiterSaysWhatItIsSetTo(t *testing.T) {
	o := LimiterOptions{Key: "kms/rsa", Rate: 500, Replicas: 50}.withDefaults()
	l := newLimiter(o, newGCRA(o))
	assert.Equal(t, `fleet "kms/rsa", 500/s, burst 50; without Redis 10/s, burst 1`, l.String())
}
