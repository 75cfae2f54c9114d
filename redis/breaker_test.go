package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

var (
	errDown = turret.WithClass(errors.New("kms: internal error"), turret.Transient)
	errFull = errors.New("OOM command not allowed")
)

// sixInARow opens for ten seconds.
var sixInARow = gobreaker.Settings{Name: "kms", Timeout: 10 * time.Second}

// news is how long news take, at most: to be told, and to be heard by a replica
// that is busy.
const news = 4*pace + 10*time.Millisecond

// backend is what the fleet calls.
type backend struct {
	takes atomic.Int64 // ns a call
	down  atomic.Bool
	calls atomic.Int64
	now   atomic.Int64 // under way
	most  atomic.Int64
}

func (s *backend) Call(ctx context.Context, _ string) (string, error) {
	s.calls.Add(1)
	s.most.Store(max(s.most.Load(), s.now.Add(1)))
	defer s.now.Add(-1)
	down := s.down.Load()
	if d := time.Duration(s.takes.Load()); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if down {
		return "", errDown
	}
	return "signed", nil
}

type replica struct {
	*Breaker
	turret.Service[string, string]
}

// call expects err of a call.
func (r replica) call(t *testing.T, err error) {
	t.Helper()
	_, got := r.Call(context.Background(), "digest")
	if err == nil {
		require.NoError(t, got)
	} else {
		require.ErrorIs(t, got, err)
	}
}

func newReplica(t *testing.T, o BreakerOptions, r register, next turret.Service[string, string]) replica {
	b := newBreaker(o.withDefaults(), r)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return replica{b, ShareBreaker[string, string](b)(next)}
}

func newFleet(t *testing.T, n int, o BreakerOptions, r register, next turret.Service[string, string]) (fleet []replica) {
	for range n {
		fleet = append(fleet, newReplica(t, o, r, next))
	}
	return fleet
}

// busy has each of the fleet call every few milliseconds until stop.
func busy(fleet []replica) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, r := range fleet {
		for range 2 {
			wg.Go(func() {
				for ctx.Err() == nil {
					_, _ = r.Call(ctx, "digest")
					select {
					case <-time.After(20 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			})
		}
	}
	return func() { cancel(); wg.Wait() }
}

func states(fleet []replica) map[gobreaker.State]int {
	n := make(map[gobreaker.State]int)
	for _, r := range fleet {
		n[r.State()]++
	}
	return n
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestTheFleetsSummedEvidenceOpensAllBreakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		fleet := newFleet(t, 3, BreakerOptions{Settings: sixInARow}, s, &kms)
		kms.down.Store(true)
		for range 2 { // six in all, none of which opens a breaker by itself
			for _, r := range fleet {
				r.call(t, errDown)
			}
		}
		pass(news)
		for _, r := range fleet {
			r.call(t, breaker.ErrOpen)
		}
		pass(news)
		assert.Equal(t, map[gobreaker.State]int{gobreaker.StateOpen: 3}, states(fleet))
		_, err := fleet[0].Call(t.Context(), "digest")
		assert.ErrorContains(t, err, "after failures in the fleet")
		assert.EqualValues(t, 6, kms.calls.Load())
	})
}

func TestOneReplicasBreakerOpensAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms, well backend
		s := newShelf()
		one := newReplica(t, BreakerOptions{Settings: sixInARow}, s, &kms)
		others := newFleet(t, 2, BreakerOptions{Settings: sixInARow}, s, &well)
		defer busy(others)()
		pass(time.Second)
		kms.down.Store(true)
		for range 6 {
			one.call(t, errDown)
		}
		one.call(t, breaker.ErrOpen)
		pass(news)
		assert.Equal(t, map[gobreaker.State]int{gobreaker.StateOpen: 2}, states(others))
		_, err := one.Call(t.Context(), "digest")
		assert.ErrorContains(t, err, "6 consecutive failures; the last: kms: internal error", "its own reason")
	})
}

func TestOneReplicaProbesForTheFleetAndAllCloseWhenItIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		fleet := newFleet(t, 50, BreakerOptions{Settings: sixInARow}, s, &kms)
		kms.down.Store(true)
		defer busy(fleet)()
		pass(news)
		require.Equal(t, map[gobreaker.State]int{gobreaker.StateOpen: 50}, states(fleet))

		// As long as it is down, there is one probe each time.
		before := kms.calls.Load()
		kms.takes.Store(int64(2 * time.Second))
		pass(3 * (sixInARow.Timeout + 2*time.Second + news))
		assert.EqualValues(t, 3, kms.calls.Load()-before)
		require.Equal(t, 50, states(fleet)[gobreaker.StateOpen])

		// A slow one keeps the others waiting.
		kms.down.Store(false)
		kms.takes.Store(int64(5 * time.Second))
		before = kms.calls.Load()
		kms.most.Store(0)
		pass(sixInARow.Timeout + news + 2*time.Second)
		assert.EqualValues(t, 1, kms.calls.Load()-before)
		kms.takes.Store(0)
		assert.Equal(t, map[gobreaker.State]int{gobreaker.StateOpen: 49, gobreaker.StateHalfOpen: 1}, states(fleet))
		pass(3*time.Second + news)
		assert.Equal(t, map[gobreaker.State]int{gobreaker.StateClosed: 50}, states(fleet))
		before = kms.calls.Load()
		pass(time.Second)
		assert.Greater(t, kms.calls.Load()-before, int64(50*50))
	})
}

func TestSeveralProbesAreOneReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		settings := sixInARow
		settings.MaxRequests = 3
		s := newShelf()
		fleet := newFleet(t, 5, BreakerOptions{Settings: settings}, s, &kms)
		kms.down.Store(true)
		stop := busy(fleet)
		pass(news)
		stop()
		require.Equal(t, 5, states(fleet)[gobreaker.StateOpen])
		kms.down.Store(false)
		kms.takes.Store(int64(time.Second))
		kms.most.Store(0)
		defer busy(fleet)()
		pass(sixInARow.Timeout + news + 2*time.Second + news)
		assert.Equal(t, 5, states(fleet)[gobreaker.StateClosed])
	})
}

// A replica that took it on itself to probe is gone.
func TestAProberThatDiesIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		o := BreakerOptions{Settings: sixInARow}
		fleet := newFleet(t, 3, o, s, &kms)
		kms.down.Store(true)
		stop := busy(fleet)
		defer func() { stop() }()
		pass(news)
		kms.takes.Store(int64(time.Hour))
		pass(sixInARow.Timeout + news)
		var left []replica
		for _, r := range fleet {
			if r.State() == gobreaker.StateHalfOpen {
				require.NoError(t, r.Close())
			} else {
				left = append(left, r)
			}
		}
		require.Len(t, left, 2)
		kms.takes.Store(0)
		kms.down.Store(false)
		pass(lease + 2*news)
		assert.Equal(t, map[gobreaker.State]int{gobreaker.StateClosed: 2}, states(left))
	})
}

// With no time-out below, where there ought to be one.
func TestAProbeThatNeverReturnsIsReplaced(t *testing.T) {
	for _, n := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			var kms backend
			s := newShelf()
			fleet := newFleet(t, n, BreakerOptions{Settings: sixInARow}, s, &kms)
			kms.down.Store(true)
			defer busy(fleet)()
			pass(news)
			kms.takes.Store(int64(time.Hour))
			pass(sixInARow.Timeout + news)
			require.Equal(t, 1, states(fleet)[gobreaker.StateHalfOpen])
			kms.takes.Store(0)
			kms.down.Store(false)
			pass(maxLease - time.Second)
			assert.Equal(t, 0, states(fleet)[gobreaker.StateClosed])
			pass(time.Second + lease + 2*news)
			assert.Equal(t, n, states(fleet)[gobreaker.StateClosed])
		})
	}
}

// Its replica has one caller, who makes the probe.
func TestASlowProbeIsWaitedForAndOneThatNeverReturnsIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		fleet := newFleet(t, 2, BreakerOptions{Settings: sixInARow}, s, &kms)
		prober, other := fleet[0], fleet[1]
		kms.down.Store(true)
		for range 6 {
			prober.call(t, errDown)
		}
		pass(sixInARow.Timeout - news)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			kms.takes.Store(int64(time.Hour))
			for {
				_, err := prober.Call(ctx, "digest")
				if !errors.Is(err, breaker.ErrOpen) {
					return
				}
				<-time.After(20 * time.Millisecond)
			}
		})
		pass(3 * news)
		require.Equal(t, gobreaker.StateHalfOpen, prober.State())
		_ = turret.Ready(other.Service)
		pass(news) // it hears that the breaker is not closed
		for range 100 {
			require.ErrorIs(t, turret.Ready(other.Service), breaker.ErrOpen, "the other may not probe")
			pass(pace)
		}

		pass(maxLease)
		asked := s.asked()
		pass(time.Hour / 2)
		assert.Equal(t, asked, s.asked(), "nobody waits any longer")
		cancel()
		wg.Wait()
	})
}

func TestResultsAfterAProbeAreNoProbes(t *testing.T) {
	var r record
	r.empty = true
	settings := BreakerOptions{Settings: sixInARow}.withDefaults().shared()
	fleet, err := gobreaker.NewDistributedCircuitBreaker[struct{}](&r, settings)
	require.NoError(t, err)
	r.State = gobreaker.StateHalfOpen
	require.NoError(t, r.replay(fleet, []bool{true, true, false, false}))
	assert.Equal(t, gobreaker.StateClosed, r.State)
	assert.Equal(t, gobreaker.Counts{Requests: 3, TotalSuccesses: 1, TotalFailures: 2, ConsecutiveFailures: 2}, r.Counts)
	require.NoError(t, r.replay(fleet, []bool{false, false, false, false, true, true}))
	assert.Equal(t, gobreaker.StateOpen, r.State, "what comes after the sixth failure is refused")
	assert.Zero(t, r.Counts)
}

func TestAnIdleFleetComesBackWithItsFirstCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		fleet := newFleet(t, 3, BreakerOptions{Settings: sixInARow}, s, &kms)
		kms.down.Store(true)
		stop := busy(fleet)
		pass(news)
		stop()
		require.Equal(t, 3, states(fleet)[gobreaker.StateOpen])
		kms.down.Store(false)
		pass(time.Hour)
		for range 3 { // rare calls
			fleet[0].call(t, nil)
			pass(time.Minute)
		}
		assert.Equal(t, gobreaker.StateClosed, s.record(t).State)
		assert.Equal(t, gobreaker.StateClosed, fleet[0].State())
	})
}

func TestRedisForgetsAnOpenBreakerAndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		fleet := newFleet(t, 3, BreakerOptions{Settings: sixInARow}, s, &kms)
		kms.down.Store(true)
		defer busy(fleet)()
		pass(news)
		calls := kms.calls.Load()
		s.set(func(s *shelf) { s.value = "" })
		pass(sixInARow.Timeout - time.Second)
		assert.Equal(t, 3, states(fleet)[gobreaker.StateOpen])
		assert.Equal(t, calls, kms.calls.Load())
		assert.Equal(t, gobreaker.StateOpen, s.record(t).State)
	})
}

func TestTheStateIsInRedissTime(t *testing.T) {
	for _, ahead := range []time.Duration{-10 * time.Hour, 10 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var kms backend
			s := newShelf()
			s.ahead = ahead
			r := newReplica(t, BreakerOptions{Settings: sixInARow}, s, &kms)
			kms.down.Store(true)
			defer busy([]replica{r})()
			pass(news)
			require.NoError(t, r.Err())
			require.Equal(t, gobreaker.StateOpen, r.State())
			open := s.record(t)
			assert.InDelta(t, (ahead + sixInARow.Timeout).Seconds(), time.Until(open.Expiry).Seconds(), news.Seconds())
			assert.WithinDuration(t, time.Now().Add(ahead), open.Start, news)
			calls := kms.calls.Load()
			pass(sixInARow.Timeout - 2*news)
			assert.Equal(t, calls, kms.calls.Load())
			pass(3 * news)
			assert.Equal(t, calls+1, kms.calls.Load())
		})
	}
}

func TestResultsAreNotLostWhenOthersAreFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		other := record{empty: true}
		settings := BreakerOptions{Settings: sixInARow}.withDefaults().shared()
		fleet, err := gobreaker.NewDistributedCircuitBreaker[struct{}](&other, settings)
		require.NoError(t, err)
		conflicts := 7
		s.before = func(s *shelf) { // another writes at every moment
			if conflicts--; conflicts >= 0 {
				require.NoError(t, other.replay(fleet, []bool{true}))
				s.value, err = other.encode(0)
				require.NoError(t, err)
			}
		}
		r := newReplica(t, BreakerOptions{Settings: sixInARow}, s, &kms)
		kms.down.Store(true)
		for range 5 {
			r.call(t, errDown)
		}
		pass(time.Second)
		require.NoError(t, r.Err())
		require.Negative(t, conflicts)
		got := s.record(t)
		assert.EqualValues(t, 7, got.Counts.TotalSuccesses)
		assert.EqualValues(t, 5, got.Counts.TotalFailures)
		assert.EqualValues(t, 5, got.Counts.ConsecutiveFailures)
	})
}

func TestManyReplicasResultsAllCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		fleet := newFleet(t, 50, BreakerOptions{Settings: sixInARow}, s, &kms)
		for range 100 {
			for _, r := range fleet {
				r.call(t, nil)
			}
			pass(20 * time.Millisecond)
		}
		pass(5 * time.Second)
		assert.EqualValues(t, 5000, s.record(t).Counts.TotalSuccesses)
		assert.Less(t, s.asked(), 5000/2)
	})
}

func TestRedisIsAskedFarLessThanOnceACallThroughABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		r := newReplica(t, BreakerOptions{Settings: sixInARow}, s, &kms)
		for range 4000 { // 400 a second, 10 s
			r.call(t, nil)
			<-time.After(2500 * time.Microsecond)
		}
		assert.Less(t, s.asked(), 4000/15)
		assert.Greater(t, s.asked(), 100, "ten times a second, twice each")

		before := s.asked()
		for range 100 { // ten a second
			r.call(t, nil)
			<-time.After(100 * time.Millisecond)
		}
		assert.Less(t, s.asked()-before, 100/3)

		before = s.asked()
		pass(time.Hour)
		assert.LessOrEqual(t, s.asked()-before, 6, "nobody calls")
	})
}

func TestARollingWindowIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		settings := gobreaker.Settings{
			Timeout: 10 * time.Second, Interval: 10 * time.Second, BucketPeriod: 3 * time.Second,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.Requests >= 100 && c.TotalFailures*2 >= c.Requests },
		}
		s := newShelf()
		fleet := newFleet(t, 3, BreakerOptions{Settings: settings}, s, &kms)
		for range 3 { // the window goes on: never a hundred calls
			for _, r := range fleet {
				for range 25 {
					r.call(t, nil)
				}
			}
			pass(15 * time.Second)
		}
		kms.down.Store(true)
		for _, r := range fleet {
			for range 30 {
				r.call(t, errDown)
			}
		}
		pass(quiet + news)
		assert.NoError(t, fleet[0].Err())
		assert.Equal(t, 0, states(fleet)[gobreaker.StateOpen], "90 calls")
		for _, r := range fleet {
			for range 4 {
				r.call(t, errDown)
			}
		}
		pass(news)
		assert.Equal(t, 3, states(fleet)[gobreaker.StateOpen])
	})
}

func TestWithoutRedisEachBreakerIsOnItsOwnAndThenSharesAgain(t *testing.T) {
	ills := map[string]struct {
		set  func(*shelf)
		says string
	}{
		"an error":      {func(s *shelf) { s.err = errFull }, "OOM"},
		"full":          {func(s *shelf) { s.full = true }, "OOM"},
		"no answer":     {func(s *shelf) { s.hangs = true }, "no answer from Redis in 50ms"},
		"a deaf client": {func(s *shelf) { s.deaf = true }, "no answer from Redis in 50ms"},
		"a slow Redis":  {func(s *shelf) { s.roundTrip = time.Second }, "no answer from Redis in 50ms"},
		"garbage":       {func(s *shelf) { s.before = func(s *shelf) { s.value = "\x1b[2Jgarbage" } }, `no breaker's state: "invalid character`},
	}
	for name, ill := range ills {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var lost []error
				var found []time.Duration
				var kms, well backend
				s := newShelf()
				o := BreakerOptions{
					Settings:   sixInARow,
					OnFallback: func(err error) { lost = append(lost, err) },
					OnRecover:  func(d time.Duration) { found = append(found, d) },
				}
				one := newReplica(t, o, s, &kms)
				other := newReplica(t, BreakerOptions{Settings: sixInARow}, s, &well)
				stop := busy([]replica{one, other})
				defer func() { stop() }()
				pass(3 * time.Second)
				require.NoError(t, one.Err())
				s.set(ill.set)
				pass(3 * time.Second)
				require.ErrorContains(t, one.Err(), ill.says)
				require.Len(t, lost, 1)

				start := time.Now()
				kms.down.Store(true)
				pass(sixInARow.Timeout - time.Second)
				assert.Equal(t, gobreaker.StateOpen, one.State())
				assert.Equal(t, gobreaker.StateClosed, other.State(), "on its own")
				kms.down.Store(false)
				pass(2 * time.Second)
				assert.Equal(t, gobreaker.StateClosed, one.State(), "its own probe")
				require.Len(t, lost, 1)
				require.Empty(t, found)
				assert.InDelta(t, 11, time.Since(start).Seconds(), 0.01)

				s.set(func(s *shelf) {
					if s.deaf {
						close(s.heal)
					}
					s.err, s.full, s.hangs, s.deaf, s.roundTrip, s.before = nil, false, false, false, time.Millisecond, nil
				})
				pass(maxProbe + news)
				require.NoError(t, one.Err())
				require.NoError(t, other.Err())
				require.Len(t, found, 1)
				assert.InDelta(t, 14, found[0].Seconds(), 1.5)

				stop()
				stop = busy([]replica{other})
				kms.down.Store(true)
				for range 6 {
					one.call(t, errDown)
				}
				pass(news)
				assert.Equal(t, gobreaker.StateOpen, other.State(), "shared")
				assert.Len(t, lost, 1)
			})
		})
	}
}

func TestALostRedisEndsNoOpenBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms, well backend
		s := newShelf()
		one := newReplica(t, BreakerOptions{Settings: sixInARow}, s, &kms)
		other := newReplica(t, BreakerOptions{Settings: sixInARow}, s, &well)
		kms.down.Store(true)
		defer busy([]replica{one, other})()
		pass(news)
		require.Equal(t, gobreaker.StateOpen, other.State())
		s.set(func(s *shelf) { s.hangs = true })
		pass(sixInARow.Timeout - time.Second)
		require.Error(t, other.Err())
		assert.Equal(t, gobreaker.StateOpen, other.State())
		pass(2 * time.Second)
		assert.Equal(t, gobreaker.StateClosed, other.State(), "it has tried by itself")
		assert.Equal(t, gobreaker.StateOpen, one.State(), "so has this one")
	})
}

func TestTheLongestStateIsNoNonsense(t *testing.T) {
	const most = math.MaxUint32
	counts := gobreaker.Counts{Requests: most, TotalSuccesses: most, TotalFailures: most, TotalExclusions: most, ConsecutiveSuccesses: most, ConsecutiveFailures: most}
	o := BreakerOptions{Client: redis.NewClient(&redis.Options{}), Key: "k", Settings: gobreaker.Settings{Interval: 1000*time.Second - 1, BucketPeriod: time.Second}}
	defer o.Client.Close()
	require.NoError(t, o.Validate())
	b := NewBreaker(o)
	defer b.Close()
	at := time.Unix(1e9, 1).In(time.FixedZone("", 3600))
	r := record{SharedState: gobreaker.SharedState{Generation: math.MaxUint64, Age: math.MaxUint64, Counts: counts, Start: at, Expiry: at}, Prober: b.id, Since: at, Until: at}
	for range b.buckets() {
		r.Buckets = append(r.Buckets, counts)
	}
	require.Len(t, r.Buckets, 1000)
	data, err := r.encode(0)
	require.NoError(t, err)
	require.Less(t, len(data), maxState)
}

func TestNonsenseInRedisIsSaidAndReplaced(t *testing.T) {
	good := func(change func(*record)) string {
		r := record{SharedState: gobreaker.SharedState{Generation: 7, Buckets: make([]gobreaker.Counts, 1), Start: time.Now()}}
		change(&r)
		data, err := r.encode(0)
		if err != nil {
			panic(err)
		}
		return data
	}
	values := map[string]func() (value, says string){
		"garbage":    func() (string, string) { return "\x1b[2J{", "invalid character" },
		"other JSON": func() (string, string) { return `{"state":"open"}`, "cannot unmarshal" },
		"null":       func() (string, string) { return `null`, "0 buckets" },
		"no buckets": func() (string, string) { return `{}`, "0 buckets" },
		"no state":   func() (string, string) { return good(func(r *record) { r.State = 7 }), "state 7" },
		"long garbage": func() (string, string) {
			return `{"state":"` + strings.Repeat("x", 1<<16) + `"}`, "cannot unmarshal"
		},
		"many buckets": func() (string, string) {
			return good(func(r *record) { r.Buckets = make([]gobreaker.Counts, 1000) }), "1000 buckets, not 1"
		},
		"open for a year": func() (string, string) {
			return good(func(r *record) { r.State, r.Expiry = gobreaker.StateOpen, time.Now().AddDate(1, 0, 0) }), "open till"
		},
		"open for ever": func() (string, string) {
			return good(func(r *record) { r.State = gobreaker.StateOpen }), "open till"
		},
		"counts for a year": func() (string, string) {
			return good(func(r *record) { r.Expiry = time.Now().AddDate(1, 0, 0) }), "counts till"
		},
		"begins in a year": func() (string, string) {
			return good(func(r *record) { r.Start = time.Now().AddDate(1, 0, 0) }), "future"
		},
		"probes for a year": func() (string, string) {
			return good(func(r *record) {
				r.State, r.Prober, r.Until = gobreaker.StateHalfOpen, "x", time.Now().AddDate(1, 0, 0)
			}), "probes till"
		},
		"probes from the year 0": func() (string, string) {
			return `{"state":1,"buckets":[{}],"since":"0000-01-01T00:00:00+23:59"}`, "-0001-12-31" // which JSON has not
		},
		"probes from next year": func() (string, string) {
			return good(func(r *record) {
				r.State, r.Since = gobreaker.StateHalfOpen, time.Now().AddDate(1, 0, 0)
			}), "probes begins in the future"
		},
		"half-open till": func() (string, string) {
			return good(func(r *record) { r.State, r.Expiry = gobreaker.StateHalfOpen, time.Now() }), "half-open till"
		},
		"old buckets": func() (string, string) {
			return good(func(r *record) { r.Age = math.MaxUint64 }), "buckets of the age 18446744073709551615"
		},
		"a long name": func() (string, string) {
			return good(func(r *record) { r.Prober = strings.Repeat("x", 1<<16) }), "65536 bytes"
		},
	}
	for name, value := range values {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var kms backend
				var lost []error
				var found int
				s := newShelf()
				var says string
				s.value, says = value()
				r := newReplica(t, BreakerOptions{
					Settings:   sixInARow,
					OnFallback: func(err error) { lost = append(lost, err) },
					OnRecover:  func(time.Duration) { found++ },
				}, s, &kms)
				for range 100 {
					r.call(t, nil)
					<-time.After(20 * time.Millisecond)
				}
				require.Len(t, lost, 1)
				assert.ErrorContains(t, lost[0], says)
				assert.Less(t, len(lost[0].Error()), 400)
				assert.NotContains(t, lost[0].Error(), "\x1b")
				assert.Equal(t, 1, found)
				assert.NoError(t, r.Err())
				assert.Positive(t, s.record(t).Counts.TotalSuccesses)
			})
		})
	}
}

// Places that are taken for ever, in a state that is well-formed.
func TestAHalfOpenStateWithoutPlacesIsProbedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		state := record{SharedState: gobreaker.SharedState{
			State: gobreaker.StateHalfOpen, Generation: math.MaxUint64, Start: time.Now(),
			Counts: gobreaker.Counts{Requests: math.MaxUint32}, Buckets: make([]gobreaker.Counts, 1),
		}}
		s.value, _ = state.encode(0)
		r := newReplica(t, BreakerOptions{Settings: sixInARow}, s, &kms)
		defer busy([]replica{r})()
		pass(time.Second)
		require.NoError(t, r.Err())
		assert.Equal(t, gobreaker.StateClosed, r.State())
		assert.Equal(t, gobreaker.StateClosed, s.record(t).State)
	})
}

func TestNoCallWaitsForRedis(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var kms backend
			s := newShelf()
			s.hangs, s.deaf = !deaf, deaf
			r := newReplica(t, BreakerOptions{Settings: sixInARow}, s, &kms)
			start, waited := time.Now(), time.Duration(0)
			for range 1000 {
				before := time.Now()
				r.call(t, nil)
				require.NoError(t, turret.Ready(r.Service))
				waited += time.Since(before)
				<-time.After(time.Millisecond)
			}
			assert.Zero(t, waited)
			assert.Error(t, r.Err())
			assert.Equal(t, time.Second, time.Since(start))
			if deaf {
				assert.Equal(t, 1, s.asked(), "one call is left behind, no more")
				close(s.heal)
			}
		})
	}
}

func TestACloseIsTheEndOfSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		s.hangs = true
		r := newReplica(t, BreakerOptions{Settings: sixInARow, OnFallback: func(error) { t.Error("Close is no fallback") }}, s, &kms)
		r.call(t, nil)
		pass(pace + time.Millisecond) // it asks
		require.Equal(t, 1, s.asked())
		start := time.Now()
		require.NoError(t, r.Close())
		require.NoError(t, r.Close())
		assert.Equal(t, start, time.Now())
		assert.ErrorIs(t, r.Err(), errBreakerClosed)
		kms.down.Store(true)
		for range 6 {
			r.call(t, errDown)
		}
		r.call(t, breaker.ErrOpen)
		pass(time.Minute)
		kms.down.Store(false)
		r.call(t, nil)
		assert.Equal(t, 1, s.asked())
	})
}

func TestAPanicAndAGoexitAreFailuresInTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		exits := newReplica(t, BreakerOptions{Settings: sixInARow}, s, turret.ServiceFunc[string, string](func(_ context.Context, how string) (string, error) {
			if how == "panic" {
				panic(how)
			}
			runtime.Goexit()
			return "", nil
		}))
		for i := range 5 {
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				_, _ = exits.Call(t.Context(), []string{"panic", "exit"}[i%2])
			}()
			<-done
		}
		pass(news)
		assert.EqualValues(t, 5, s.record(t).Counts.ConsecutiveFailures)
	})
}

func TestReadyAloneKeepsABreakerInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		fleet := newFleet(t, 2, BreakerOptions{Settings: sixInARow}, s, &kms)
		one, asking := fleet[0], fleet[1]
		ask := func() bool {
			<-time.After(100 * time.Millisecond)
			return turret.Ready(asking.Service) == nil
		}
		for range 20 { // as a failover does, which calls only what is ready
			require.True(t, ask())
		}
		kms.down.Store(true)
		for range 6 {
			one.call(t, errDown)
		}
		pass(quiet + news)
		for range 50 {
			require.False(t, ask())
		}
		kms.down.Store(false)
		for !ask() {
		}
		asking.call(t, nil)
		pass(news)
		assert.Equal(t, gobreaker.StateClosed, s.record(t).State)
	})
}

// follows returns a replica with an OnStateChange, which calls all the while, of a
// fleet whose other replica has just found what opens the breaker.
func follows(t *testing.T, s *shelf, onStateChange func(name string, from, to gobreaker.State)) replica {
	var kms, well backend
	o := BreakerOptions{Settings: sixInARow}
	one := newReplica(t, o, s, &kms)
	o.Settings.OnStateChange = onStateChange
	other := newReplica(t, o, s, &well)
	t.Cleanup(busy([]replica{other}))
	kms.down.Store(true)
	pass(time.Second)
	for range 6 {
		one.call(t, errDown)
	}
	return other
}

func TestStateChangesOfTheFleetReachOnStateChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		follows(t, newShelf(), func(name string, from, to gobreaker.State) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s: %v to %v", name, from, to))
		})
		pass(sixInARow.Timeout + time.Second)
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, []string{"kms: closed to open", "kms: open to half-open", "kms: half-open to closed"}, told)
	})
}

func TestASlowOnStateChangeHoldsUpNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		told := make(chan string) // which nobody reads yet
		r := follows(t, s, func(_ string, from, to gobreaker.State) { told <- fmt.Sprintf("%v to %v", from, to) })
		pass(news)
		require.Equal(t, gobreaker.StateOpen, r.State())
		asked := s.asked()
		pass(sixInARow.Timeout + time.Second)
		assert.Equal(t, gobreaker.StateClosed, r.State())
		assert.Equal(t, gobreaker.StateClosed, s.record(t).State)
		assert.Greater(t, s.asked(), asked+10)
		for _, change := range []string{"closed to open", "open to half-open", "half-open to closed"} {
			assert.Equal(t, change, <-told)
		}
	})
}

func TestOnStateChangeMayCloseTheBreaker(t *testing.T) {
	for _, found := range []string{"by the fleet", "by a call"} {
		t.Run(found, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var kms, well backend
				s := newShelf()
				var one, other replica
				closed := make(chan struct{})
				o := BreakerOptions{Settings: sixInARow}
				one = newReplica(t, o, s, &kms)
				o.Settings.OnStateChange = func(string, gobreaker.State, gobreaker.State) {
					assert.NoError(t, other.Close())
					close(closed)
				}
				other = newReplica(t, o, s, &well)
				other.call(t, nil)
				failing := one
				if found == "by a call" {
					failing = other
				}
				kms.down.Store(true)
				well.down.Store(found == "by a call")
				for range 6 {
					failing.call(t, errDown)
				}
				<-closed
				assert.ErrorIs(t, other.Err(), errBreakerClosed)
			})
		})
	}
}

func TestAfterAnOnStateChangeThatPanicsTheNextIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		told := 0
		o := BreakerOptions{Settings: sixInARow}
		o.Settings.OnStateChange = func(string, gobreaker.State, gobreaker.State) {
			if told++; told == 1 {
				panic("hook")
			}
		}
		r := newReplica(t, o, newShelf(), &kms)
		kms.down.Store(true)
		for range 5 {
			r.call(t, errDown)
		}
		require.PanicsWithValue(t, "hook", func() { r.call(t, errDown) })
		kms.down.Store(false)
		<-time.After(sixInARow.Timeout + 2*time.Second)
		r.call(t, nil)
		pass(news)
		assert.Equal(t, 3, told)
	})
}

func TestALayersBreakerIsClosedWithItsStackAndASharedOneIsNot(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	o := BreakerOptions{Client: client, Key: "kms/rsa", Settings: sixInARow}
	var kms backend

	own := BreakerLayer[string, string](o)(&kms)
	assert.Equal(t, "breaker kms (opens for 10s), fleet \"kms/rsa\"\n*fleet.backend", turret.Describe(own))
	assert.Contains(t, own.(turret.Stater).State().String(), "state=closed")
	assert.Contains(t, own.(turret.Stater).State().String(), "shared=true")
	require.NoError(t, turret.Close(own))
	assert.Contains(t, own.(turret.Stater).State().String(), "shared=false", "on its own")
	assert.ErrorIs(t, own.(*ownService[string, string]).breaker.Err(), errBreakerClosed)

	b := NewBreaker(o)
	shared := ShareBreaker[string, string](b)(&kms)
	require.NoError(t, turret.Close(shared))
	assert.NoError(t, b.Err())
	require.NoError(t, b.Close())
}

func TestBreakersOfOtherSettingsHaveAStateOfTheirOwn(t *testing.T) {
	keys := make(map[string]bool)
	for _, change := range []func(*gobreaker.Settings){
		func(*gobreaker.Settings) {},
		func(s *gobreaker.Settings) { s.MaxRequests = 2 },
		func(s *gobreaker.Settings) { s.Timeout = time.Second },
		func(s *gobreaker.Settings) { s.Interval = time.Second },
		func(s *gobreaker.Settings) { s.Interval, s.BucketPeriod = time.Second, time.Millisecond },
	} {
		o := BreakerOptions{Key: "kms"}
		change(&o.Settings)
		keys[newKeyRegister(o.withDefaults()).key] = true
	}
	assert.Len(t, keys, 5)
	assert.Contains(t, keys, "gobreaker:state:kms:1:0s:0s:1m0s")
}

func TestValidateRefusesABreakerThatCannotWork(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	good := BreakerOptions{Client: client, Key: "kms"}
	require.NoError(t, good.Validate())
	tests := map[string]struct {
		change func(*BreakerOptions)
		says   string
	}{
		"no client":        {func(o *BreakerOptions) { o.Client = nil }, "Client is nil"},
		"a nil client":     {func(o *BreakerOptions) { o.Client = (*redis.Client)(nil) }, "Client is nil"},
		"no key":           {func(o *BreakerOptions) { o.Key = "" }, "Key is empty"},
		"negative timeout": {func(o *BreakerOptions) { o.Timeout = -1 }, "Timeout is -1ns"},
		"settings":         {func(o *BreakerOptions) { o.Settings.Interval = -1 }, "Interval is -1ns"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := good
			test.change(&o)
			require.ErrorContains(t, o.Validate(), test.says)
			assert.PanicsWithError(t, o.Validate().Error(), func() { NewBreaker(o) })
			assert.PanicsWithError(t, o.Validate().Error(), func() { BreakerLayer[string, string](o) })
		})
	}
	assert.PanicsWithValue(t, "fleet: ShareBreaker of a nil Breaker; make one with fleet.NewBreaker", func() { ShareBreaker[string, string](nil) })
}

func TestABreakerThatOpensForEverIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms, well backend
		s := newShelf()
		o := BreakerOptions{Settings: gobreaker.Settings{Name: "kms", Timeout: math.MaxInt64}}
		one, other := newReplica(t, o, s, &kms), newReplica(t, o, s, &well)
		kms.down.Store(true)
		defer busy([]replica{one, other})()
		pass(time.Second)
		for _, r := range []replica{one, other} {
			require.NoError(t, r.Err())
			assert.Equal(t, gobreaker.StateOpen, r.State())
			r.call(t, breaker.ErrOpen)
		}
		assert.LessOrEqual(t, kms.calls.Load(), int64(7), "nobody probes")
	})
}

// Gobreaker counts generations from 1, but a hostile Redis may say what it likes.
func TestAStateOfGenerationZeroIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kms backend
		s := newShelf()
		s.value = strings.Replace(openState, `"generation":1`, `"generation":0`, 1)
		r := newReplica(t, BreakerOptions{Settings: sixInARow}, s, &kms)
		stop := busy([]replica{r})
		pass(time.Second)
		require.Equal(t, gobreaker.StateOpen, r.State())
		s.set(func(s *shelf) { s.value = closedState })
		pass(time.Second)
		assert.Equal(t, gobreaker.StateClosed, r.State())
		stop()
	})
}
