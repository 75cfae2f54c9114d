package balance_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/timeout"
)

// ---- how calls are spread

func TestEqualMembersShareEqually(t *testing.T) {
	for _, l := range []balance.Load{balance.PeakEWMA, balance.Pending} {
		inBubble(t, func(t *testing.T) {
			a, b, c := newServer("a", 10*time.Millisecond), newServer("b", 10*time.Millisecond), newServer("c", 10*time.Millisecond)
			n := load(t, pool(balance.Options{Load: l}, a, b, c), 20, 10*time.Second)
			for _, s := range []*server{a, b, c} {
				require.InDelta(t, 1./3, s.share(n), .05, "%s by load %d", s.name, l)
			}
		})
	}
}

func TestASlowMemberGetsProportionallyLess(t *testing.T) {
	for _, tc := range []struct {
		load balance.Load
		most float64
	}{{balance.PeakEWMA, .1}, {balance.Pending, .15}} {
		inBubble(t, func(t *testing.T) {
			fast, slow := newServer("fast", 10*time.Millisecond), newServer("slow", 100*time.Millisecond)
			n := load(t, pool(balance.Options{Load: tc.load}, fast, slow), 20, 20*time.Second)
			require.Less(t, slow.share(n), tc.most, "by load %d", tc.load)
			require.Greater(t, slow.calls.Load(), int64(0), "it is still in use")
		})
	}
}

func TestAMemberThatBecomesFastAgainIsFoundOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newServer("a", 10*time.Millisecond), newServer("b", time.Second)
		s := pool(balance.Options{Decay: time.Second}, a, b)
		n := load(t, s, 10, 10*time.Second)
		require.Less(t, b.share(n), .1)
		b.takes.Store(int64(10 * time.Millisecond))
		load(t, s, 10, 10*time.Second) // forgets
		b.calls.Store(0)
		n = load(t, s, 10, 10*time.Second)
		require.InDelta(t, .5, b.share(n), .1)
	})
}

func TestANewMemberIsTriedWithOneCall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		old, fresh := newServer("old", 10*time.Millisecond), newServer("fresh", time.Second)
		s := pool(balance.Options{}, old)
		load(t, s, 10, time.Second)
		s.Insert("fresh", fresh)
		for range 10 { // one by one, or two may find it idle at the same instant
			go func() { _, _ = s.Call(t.Context(), 1) }()
			synctest.Wait()
		}
		load(t, s, 10, 500*time.Millisecond)
		require.EqualValues(t, 1, fresh.calls.Load(), "one, as long as nothing is known")
		<-time.After(time.Second)
	})
}

func TestANewMemberWhoseFirstCallerGoesIsAsNewAsBefore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		old, fresh := newServer("old", 10*time.Millisecond), newServer("fresh", time.Second)
		s := pool(balance.Options{}, old)
		load(t, s, 10, time.Second)
		s.Insert("fresh", fresh)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := s.Call(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualValues(t, 1, fresh.calls.Load(), "it is tried at once")
		for range 10 {
			go func() { _, _ = s.Call(t.Context(), 1) }()
			synctest.Wait()
		}
		require.EqualValues(t, 2, fresh.calls.Load(), "a call of a millisecond does not make it the fastest")
		<-time.After(time.Second)
	})
}

func TestANewMemberThatOutlastsItsCallersCountsAsSlow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		old, hung := newServer("old", 10*time.Millisecond), newServer("hung", time.Hour)
		s := pool(balance.Options{}, old)
		load(t, s, 10, time.Second)
		s.Insert("hung", hung)
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _ = s.Call(ctx, 1)
			cancel()
		}
		require.LessOrEqual(t, hung.calls.Load(), int64(3))
	})
}

func TestPowerOfTwoChoicesKeepsQueuesShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var servers []*server
		for range 100 {
			servers = append(servers, newServer("", time.Second))
		}
		s := balance.New[int, string](balance.Options{Load: balance.Pending})
		for i, srv := range servers {
			s.Insert(string(rune('a'+i)), srv)
		}
		load(t, s, 1000, time.Nanosecond)
		longest := int64(0)
		for _, srv := range servers {
			longest = max(longest, srv.most.Load())
		}
		require.LessOrEqual(t, longest, int64(14), "drawn one by one it would be 16 to 25")
	})
}

// ---- members that fail

func TestAFailingMemberGetsAlmostNoTrafficHoweverFastItFails(t *testing.T) {
	for _, l := range []balance.Load{balance.PeakEWMA, balance.Pending} {
		for _, class := range failures {
			inBubble(t, func(t *testing.T) {
				a, b, bad := newServer("a", 20*time.Millisecond), newServer("b", 20*time.Millisecond), newServer("bad", 0)
				bad.fail(of(class))
				n := load(t, pool(balance.Options{Load: l}, a, b, bad), 10, 30*time.Second)
				require.Less(t, bad.share(n), .02, "%v by load %d", class, l)
				require.Greater(t, bad.calls.Load(), int64(3), "it is probed")
			})
		}
	}
}

func TestMostMembersFailingGetAlmostNoTraffic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var servers []*server
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
			servers = append(servers, newServer(name, 0))
			servers[len(servers)-1].fail(errBoom)
		}
		good := newServer("good", 10*time.Millisecond)
		n := load(t, pool(balance.Options{}, append(servers, good)...), 10, 60*time.Second)
		require.Greater(t, good.share(n), .98)
	})
}

func TestAMemberThatFailsHalfOfItsCallsIsShunned(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		good, flaky := newServer("good", 20*time.Millisecond), 0
		var n, toFlaky int
		s := pool(balance.Options{}, good)
		s.Insert("flaky", turret.ServiceFunc[int, string](func(context.Context, int) (string, error) {
			toFlaky++
			if flaky++; flaky%2 == 0 {
				return "", errBoom
			}
			<-time.After(20 * time.Millisecond)
			return "flaky", nil
		}))
		for range 3000 {
			_, _ = s.Call(t.Context(), 1)
			n++
		}
		require.Less(t, toFlaky, n/20)
	})
}

func TestAFailingMemberComesBackByBeingProbed(t *testing.T) {
	for _, l := range []balance.Load{balance.PeakEWMA, balance.Pending} {
		inBubble(t, func(t *testing.T) {
			a, b := newServer("a", 10*time.Millisecond), newServer("b", 10*time.Millisecond)
			s := pool(balance.Options{Load: l, MaxProbation: 4 * time.Second}, a, b)
			b.fail(errBoom)
			load(t, s, 10, 20*time.Second)
			b.recover()
			load(t, s, 10, 5*time.Second) // within the longest probation it is probed
			b.calls.Store(0)
			n := load(t, s, 10, 5*time.Second)
			require.InDelta(t, .5, b.share(n), .1)
		})
	}
}

func TestAMemberThatHungComesBackAtOnceWhenProbed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newServer("a", 10*time.Millisecond), newServer("b", 10*time.Millisecond)
		s := balance.New(balance.Options{MaxProbation: time.Second},
			svc(a), timeout.Layer[int, string](2*time.Second)(b))
		n := load(t, s, 20, time.Second)
		b.takes.Store(int64(time.Hour))
		n += load(t, s, 20, 30*time.Second)
		require.Less(t, b.share(n), .1)
		b.takes.Store(int64(10 * time.Millisecond))
		load(t, s, 20, 4*time.Second)
		b.calls.Store(0)
		n = load(t, s, 1, 5*time.Second)
		require.InDelta(t, .5, b.share(n), .2, "its two seconds are forgotten")
	})
}

func TestProbesComeOneAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newServer("a", 10*time.Millisecond), newServer("b", 0)
		s := pool(balance.Options{Probation: 10 * time.Millisecond, MaxProbation: time.Minute}, a, b)
		b.fail(errBoom)
		load(t, s, 50, 100*time.Millisecond)
		b.takes.Store(int64(5 * time.Second)) // many times the probation
		b.most.Store(0)
		load(t, s, 50, 20*time.Second)
		require.EqualValues(t, 1, b.most.Load())
		require.Greater(t, b.calls.Load(), int64(5))
	})
}

func TestAProbeThatNeverEndsIsFollowedByAnother(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a, b := newServer("a", 0), newServer("b", 0)
		var back bool
		o := balance.Options{MaxProbation: 10 * time.Second, OnChange: func(e balance.Event) { back = e.Out == 0 }}
		s := pool(o, a, b)
		b.fail(errBoom)
		load(t, s, 1, time.Second)
		b.takes.Store(math.MaxInt64)
		var wg sync.WaitGroup
		for b.underWay.Load() == 0 { // one of these is the probe, and hangs
			wg.Go(func() { _, _ = s.Call(ctx, 1) })
			<-time.After(10 * time.Millisecond)
			synctest.Wait()
		}
		b.takes.Store(0)
		b.recover()
		load(t, s, 1, 9*time.Second)
		require.False(t, back)
		load(t, s, 1, 2*time.Second)
		require.True(t, back)
		cancel()
		wg.Wait()
	})
}

func TestProbationsGrowAndAreJittered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		first := map[time.Duration]bool{}
		for range 20 {
			var outs []time.Duration
			o := balance.Options{MaxProbation: 8 * time.Second, OnChange: func(e balance.Event) { outs = append(outs, e.Out) }}
			b := newServer("b", 50*time.Millisecond)
			b.fail(errBoom)
			load(t, pool(o, newServer("a", 50*time.Millisecond), b), 1, time.Minute)
			first[outs[0]] = true
			for i, out := range outs {
				whole := min(time.Second<<i, 8*time.Second)
				require.Greater(t, out, whole/2, "probation %d", i)
				require.LessOrEqual(t, out, whole+1, "probation %d", i)
			}
			require.Greater(t, len(outs), 6)
		}
		require.Greater(t, len(first), 10, "jitter")
	})
}

func TestProbationGrowsWhereAMemberComesBackOnlyToFail(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var outs []time.Duration
		b := newServer("b", time.Millisecond)
		s := pool(balance.Options{OnChange: func(e balance.Event) {
			if e.Out == 0 {
				b.fail(errBoom)
				return
			}
			b.recover() // the probe succeeds
			outs = append(outs, e.Out)
		}}, newServer("a", time.Millisecond), b)
		b.fail(errBoom)
		load(t, s, 10, 30*time.Second)
		require.GreaterOrEqual(t, len(outs), 4)
		for i, out := range outs[:4] {
			require.Greater(t, out, time.Second<<i/2, "probation %d", i)
		}
	})
}

func TestACancelledProbeIsRepeatedSoon(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var changes []balance.Event
		a, b := newServer("a", time.Millisecond), newServer("b", 0)
		s := pool(balance.Options{OnChange: func(e balance.Event) { changes = append(changes, e) }}, a, b)
		b.fail(errBoom)
		load(t, s, 1, 200*time.Millisecond)
		require.Len(t, changes, 1)
		b.recover()
		b.takes.Store(int64(time.Hour))
		for b.calls.Store(0); b.calls.Load() == 0; {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, _ = s.Call(ctx, 1)
			cancel()
		}
		require.Len(t, changes, 1, "nothing is known")
		b.takes.Store(0)
		load(t, s, 1, 2*time.Second)
		require.Len(t, changes, 2)
	})
}

func TestProbationStartsShortAfterAMemberHeldOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var outs []time.Duration
		o := balance.Options{OnChange: func(e balance.Event) { outs = append(outs, e.Out) }}
		a, b := newServer("a", 10*time.Millisecond), newServer("b", 10*time.Millisecond)
		s := pool(o, a, b)
		b.fail(errBoom)
		load(t, s, 10, 20*time.Second)
		b.recover()
		load(t, s, 2, 3*time.Minute) // longer than any probation takes, and than it counts afterwards
		outs = nil
		b.fail(errBoom)
		load(t, s, 10, 400*time.Millisecond)
		require.Len(t, outs, 1)
		require.LessOrEqual(t, outs[0], time.Second+1)
	})
}

type later struct{ after time.Duration }

func (later) Error() string                       { return "come later" }
func (later) Class() turret.Class                 { return turret.Throttled }
func (l later) RetryAfter() (time.Duration, bool) { return l.after, true }

func TestRetryAfterProlongsAProbationUpToItsMaximum(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{30 * time.Second: 30 * time.Second, time.Hour: time.Minute} {
		inBubble(t, func(t *testing.T) {
			var outs []time.Duration
			b := newServer("b", 0)
			b.fail(later{after})
			s := pool(balance.Options{OnChange: func(e balance.Event) { outs = append(outs, e.Out) }}, newServer("a", 0), b)
			load(t, s, 1, time.Second)
			require.Equal(t, []time.Duration{want}, outs)
		})
	}
}

func TestFewFailuresPutNobodyOnProbation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := balance.Options{Load: balance.Pending, OnChange: func(balance.Event) { t.Error("told of a change") }}
		var n int
		svc := turret.ServiceFunc[int, string](func(context.Context, int) (string, error) {
			if n++; n%5 == 1 {
				return "", nil
			}
			return "", errBoom
		})
		s := balance.New(o, svc, turret.ServiceFunc[int, string](func(context.Context, int) (string, error) { return "", nil }))
		for range 1000 {
			_, _ = s.Call(t.Context(), 1)
		}
	})
}

func TestWhatBeganBeforeAProbationDoesNotCountAfterIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newServer("a", 0), newServer("b", 5*time.Second)
		var changes []balance.Event
		s := pool(balance.Options{Load: balance.Pending, OnChange: func(e balance.Event) { changes = append(changes, e) }}, a, b)
		a.takes.Store(int64(5 * time.Second))
		b.fail(errBoom)
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() { _, _ = s.Call(t.Context(), 1) })
			synctest.Wait()
		}
		wg.Wait()
		require.Len(t, changes, 1, "20 failures, one probation")
		require.Equal(t, "b", changes[0].Name)
	})
}

func TestNobodyIsOutWhenEverybodyFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b, c := newServer("a", time.Millisecond), newServer("b", time.Millisecond), newServer("c", time.Millisecond)
		s := pool(balance.Options{Load: balance.Pending}, a, b, c)
		for _, x := range []*server{a, b, c} {
			x.fail(errBoom)
		}
		n := load(t, s, 10, 20*time.Second)
		for _, x := range []*server{a, b, c} {
			require.InDelta(t, 1./3, x.share(n), .1, x.name)
		}
		c.recover()
		got := ""
		for range 20 {
			if r, err := s.Call(t.Context(), 1); err == nil {
				got = r
			}
		}
		require.Equal(t, "c", got, "it is found soon")
	})
}

func TestMembersThatNeverAnsweredGoAfterTheirFirstFailureOnlyOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var changes int
		a, b := newServer("a", time.Millisecond), newServer("b", time.Millisecond)
		s := pool(balance.Options{OnChange: func(balance.Event) { changes++ }}, a, b)
		a.fail(errBoom)
		b.fail(errBoom)
		for range 100 {
			_, _ = s.Call(t.Context(), 1)
		}
		require.Greater(t, changes, 2)
		require.Less(t, changes, 25, "or an outage at the start would make two in three calls")
	})
}

func TestTheOnlyMemberIsCalledHoweverItFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newServer("a", 0)
		a.fail(errBoom)
		s := pool(balance.Options{}, a)
		for range 100 {
			_, err := s.Call(t.Context(), 1)
			require.Same(t, errBoom, err, "unchanged")
		}
		require.EqualValues(t, 100, a.calls.Load())
	})
}

func TestPermanentIsASuccessOfTheMember(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newServer("a", 10*time.Millisecond), newServer("b", 10*time.Millisecond)
		o := balance.Options{OnChange: func(balance.Event) { t.Error("told of a change") }}
		b.fail(of(turret.Permanent))
		n := load(t, pool(o, a, b), 10, 10*time.Second)
		require.InDelta(t, .5, b.share(n), .1)
	})
}

func TestPermanentDoesNotMakeAMemberLookFast(t *testing.T) {
	for _, seasoned := range []bool{true, false} {
		inBubble(t, func(t *testing.T) {
			a, b := newServer("a", 20*time.Millisecond), newServer("b", 20*time.Millisecond)
			s := pool(balance.Options{}, a)
			load(t, s, 5, time.Second)
			s.Insert("b", b)
			if seasoned {
				load(t, s, 5, time.Second)
			}
			b.fail(of(turret.Permanent)) // and fast, as who refuses for want of a permission
			b.takes.Store(int64(time.Millisecond))
			a.calls.Store(0)
			b.calls.Store(0)
			n := load(t, s, 1, time.Minute)
			require.Less(t, b.share(n), .8, "seasoned: %v", seasoned)
		})
	}
}

func TestANewMemberIsNotTakenForOneThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var failed int
		a, bad, fresh := newServer("a", 20*time.Millisecond), newServer("bad", 20*time.Millisecond), newServer("fresh", 20*time.Millisecond)
		s := pool(balance.Options{OnChange: func(balance.Event) { failed++ }}, a, bad)
		load(t, s, 2, time.Second)
		bad.fail(errBoom)
		for failed < 6 {
			load(t, s, 1, 100*time.Millisecond)
		}
		s.Insert("fresh", fresh)
		fresh.fail(of(turret.Permanent))
		_, err := s.Call(t.Context(), 1)
		require.ErrorIs(t, err, errBoom)
		fresh.recover()
		n := load(t, s, 1, 5*time.Second)
		require.Greater(t, fresh.share(n), .2)
	})
}

func TestCallersThatGoAwayPutNobodyOnProbation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := balance.Options{OnChange: func(balance.Event) { t.Error("told of a change") }}
		s := pool(o, newServer("a", time.Second), newServer("b", time.Second))
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, err := s.Call(ctx, 1)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	})
}

func TestACancelledCallRaisesALatencyAndNeverLowersIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newServer("a", 10*time.Millisecond), newServer("b", 10*time.Millisecond)
		s := pool(balance.Options{}, a, b)
		for range 10 {
			_, _ = s.Call(t.Context(), 1)
		}
		// Callers who have no patience with b do not make it look fast.
		b.takes.Store(int64(time.Second))
		for b.calls.Store(0); b.calls.Load() == 0; {
			_, _ = s.Call(t.Context(), 1)
		}
		b.calls.Store(0)
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			_, _ = s.Call(ctx, 1)
			cancel()
		}
		require.Zero(t, b.calls.Load())
	})
}

func TestAMemberThatIsAlwaysHedgedAwayCountsAsSlow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b, slow := newServer("a", 10*time.Millisecond), newServer("b", 10*time.Millisecond), newServer("slow", time.Minute)
		o := hedge.Options{Delay: 50 * time.Millisecond, Budget: hedge.NewBudget(1)}
		s := hedge.Layer[int, string](o)(pool(balance.Options{}, a, b, slow))
		for range 3000 {
			_, err := s.Call(t.Context(), 1)
			require.NoError(t, err)
			synctest.Wait()
		}
		n := a.calls.Load() + b.calls.Load() + slow.calls.Load()
		require.Less(t, slow.share(n), .02)
		require.Greater(t, slow.calls.Load(), int64(1), "and it is tried again when that was long ago")
	})
}

func TestAHedgeGoesToAnotherMember(t *testing.T) {
	for _, unready := range []error{nil, errBoom, errBoom, errBoom, errBoom, errBoom} { // members are drawn
		inBubble(t, func(t *testing.T) {
			a, b, c := newServer("a", time.Second), newServer("b", time.Second), newServer("c", time.Second)
			for _, x := range []*server{a, b, c} {
				if unready != nil {
					x.unready(unready)
				}
			}
			pool := pool(balance.Options{}, a, b, c)
			var race turret.Race
			ctx := t.Context()
			for i := range 4 {
				if i < 3 {
					go func() { _, _ = pool.Call(race.Join(ctx), 1) }()
					synctest.Wait()
					continue
				}
				_, err := pool.Call(race.Join(ctx), 1)
				require.EqualError(t, err, "every replica has been asked by another call of the same request")
				require.Equal(t, turret.Rejected, turret.Outcome(ctx, err))
			}
			for _, x := range []*server{a, b, c} {
				require.EqualValues(t, 1, x.calls.Load(), x.name)
			}
			<-time.After(time.Second)
		})
	}
}

func TestAProbeThatARivalHasIsNotLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var back bool
		a, b := newServer("a", time.Millisecond), newServer("b", 0)
		s := pool(balance.Options{OnChange: func(e balance.Event) { back = e.Out == 0 }}, a, b)
		b.fail(errBoom)
		var race turret.Race
		for a.calls.Load() == 0 || b.calls.Load() == 0 { // b goes on probation
			_, _ = s.Call(race.Join(t.Context()), 1)
		}
		b.recover()
		<-time.After(time.Second)
		_, err := s.Call(race.Join(t.Context()), 1)
		require.Error(t, err, "a and b are taken")
		load(t, s, 1, 2*time.Second) // the probation is a second at most
		require.True(t, back)
	})
}

func TestAMemberThatIsNotReadyIsPassedOver(t *testing.T) {
	for _, l := range []balance.Load{balance.PeakEWMA, balance.Pending} {
		inBubble(t, func(t *testing.T) {
			a, b, c := newServer("a", 10*time.Millisecond), newServer("b", 10*time.Millisecond), newServer("c", 10*time.Millisecond)
			o := balance.Options{Load: l, OnChange: func(balance.Event) { t.Error("told of a change") }}
			s := pool(o, a, b, c)
			c.fail(of(turret.Rejected))
			c.unready(errBoom)
			b.fail(of(turret.Rejected))
			b.unready(errBoom)
			load(t, s, 10, 20*time.Second)
			require.Zero(t, b.calls.Load()+c.calls.Load())
			c.recover()
			c.readyAgain()
			c.calls.Store(0)
			n := load(t, s, 10, 10*time.Second)
			require.Greater(t, c.share(n), .3, "back as soon as it is ready")
		})
	}
}

func TestTheOneReadyMemberOfManyGetsEveryCall(t *testing.T) {
	for _, l := range []balance.Load{balance.PeakEWMA, balance.Pending} {
		var servers []*server
		for n := range 10 {
			servers = append(servers, newServer(fmt.Sprint(n), 0))
		}
		s := pool(balance.Options{Load: l}, servers...)
		for _, x := range servers[1:] {
			x.fail(of(turret.Rejected))
			x.unready(errBoom)
		}
		for range 1000 {
			got, err := s.Call(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, "0", got)
		}
	}
}

func TestTheLastMemberThatIsReadyIsNotOnProbation(t *testing.T) {
	for name, beside := range map[string]bool{"": false, "beside": true} {
		refuses := func(s *server) { s.fail(of(turret.Rejected)); s.unready(errBoom) }
		fails := func(t *testing.T, s svc, x *server) {
			x.fail(errBoom)
			load(t, s, 10, time.Second)
			x.recover()
		}
		wait := func(s *balance.Balancer[int, string]) { require.NoError(t, s.Close()) }
		t.Run("it fails while the others refuse"+name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var changes int
				a, b, c := newServer("a", time.Millisecond), newServer("b", time.Millisecond), newServer("c", time.Millisecond)
				s := pool(balance.Options{Beside: beside, OnChange: func(balance.Event) { changes++ }}, a, b, c)
				defer wait(s)
				load(t, s, 10, time.Second)
				refuses(a)
				refuses(b)
				fails(t, s, c)
				got, err := s.Call(t.Context(), 1)
				require.NoError(t, err)
				require.Equal(t, "c", got)
				require.Zero(t, changes, "it does not go and come back at every call")
			})
		})
		t.Run("the others come to refuse while it is out"+name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				a, b, c := newServer("a", time.Millisecond), newServer("b", time.Millisecond), newServer("c", time.Millisecond)
				s := pool(balance.Options{Beside: beside, Probation: time.Minute}, a, b, c) // no probe comes between
				defer wait(s)
				load(t, s, 10, time.Second)
				fails(t, s, c)
				c.calls.Store(0)
				_, err := s.Call(t.Context(), 1)
				require.NoError(t, err)
				require.Zero(t, c.calls.Load(), "it is out")
				refuses(a)
				refuses(b)
				got, err := s.Call(t.Context(), 1)
				require.NoError(t, err)
				require.Equal(t, "c", got)
			})
		})
	}
}

func TestAMemberThatWillSoonBeReadyBringsNobodyBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var changes int
		a, b := newServer("a", time.Millisecond), newServer("b", time.Millisecond)
		s := pool(balance.Options{OnChange: func(balance.Event) { changes++ }}, a, b)
		load(t, s, 10, time.Second)
		full := turret.WithRetryAfter(of(turret.Rejected), 5*time.Millisecond)
		a.fail(full)
		a.unready(full)
		b.fail(errBoom)
		load(t, s, 10, 400*time.Millisecond)
		require.Equal(t, 1, changes, "the other one that fails goes")
		b.calls.Store(0)
		load(t, s, 10, 50*time.Millisecond)
		require.Zero(t, b.calls.Load(), "and stays away")

		tripped := turret.WithRetryAfter(of(turret.Rejected), time.Minute)
		a.fail(tripped)
		a.unready(tripped)
		b.recover()
		got, err := s.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "b", got, "it would be probed before that minute is over")
	})
}

func TestAMemberOnProbationThatIsNotReadyIsNotProbed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newServer("a", 10*time.Millisecond), newServer("b", 0)
		s := pool(balance.Options{}, a, b)
		b.fail(errBoom)
		load(t, s, 10, 400*time.Millisecond)
		b.unready(errBoom)
		b.calls.Store(0)
		load(t, s, 10, time.Minute)
		require.Zero(t, b.calls.Load())
		b.readyAgain()
		b.recover()
		load(t, s, 10, 5*time.Second)
		require.Greater(t, b.calls.Load(), int64(100))
	})
}

func TestPanicAndGoexitBelowAreFailuresAndGoOnUp(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		var changes []balance.Event
		var calls int
		o := balance.Options{Load: balance.Pending, OnChange: func(e balance.Event) { changes = append(changes, e) }}
		s := balance.New(o, svc(newServer("a", 0)), turret.ServiceFunc[int, string](func(context.Context, int) (string, error) {
			if calls++; calls > 1 {
				end()
			}
			return "", nil
		}))
		var values []any
		for len(changes) == 0 {
			done := make(chan any)
			go func() {
				defer close(done)
				defer func() {
					if v := recover(); v != nil {
						done <- v
					}
				}()
				_, _ = s.Call(t.Context(), 1)
			}()
			if v := <-done; v != nil {
				values = append(values, v)
			}
		}
		require.Equal(t, "replica 2", changes[0].Name)
		if name == "panic" {
			require.Equal(t, []any{"boom", "boom", "boom", "boom", "boom"}, values)
		}
		require.True(t, s.Remove("replica 2"))
	}
}

// ---- one member a call

func TestACallGoesToOneMemberAndIsNotRepeated(t *testing.T) {
	for _, class := range failures {
		a, b := newServer("a", 0), newServer("b", 0)
		a.fail(of(class))
		b.fail(of(class))
		_, err := pool(balance.Options{}, a, b).Call(t.Context(), 1)
		require.ErrorIs(t, err, errBoom)
		require.EqualValues(t, 1, a.calls.Load()+b.calls.Load())
	}
}

func TestImpatientCallersPutNoMemberOnProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := func() turret.Service[int, int] {
			return turret.With(turret.NewBuilder[int, int](), ratelimit.Layer, ratelimit.Options{Rate: 10, Burst: 1}).ServiceFunc(
				func(_ context.Context, n int) (int, error) { return n, nil })
		}
		var out []balance.Event
		b := balance.New(balance.Options{OnChange: func(e balance.Event) { out = append(out, e) }}, limited(), limited(), limited())
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			_, _ = b.Call(ctx, 1)
			cancel()
		}
		require.Empty(t, out)
	})
}

func TestRecoveredMemberComesBackThoughAHedgeOutrunsItsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ill := true
		slow := turret.ServiceFunc[int, int](func(ctx context.Context, n int) (int, error) {
			if ill {
				return 0, errors.New("ill")
			}
			select {
			case <-time.After(30 * time.Millisecond):
				return n, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		})
		fast := turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { return n, nil })
		back := false
		b := balance.New(balance.Options{Names: []string{"slow", "fast"}, OnChange: func(e balance.Event) { back = e.Name == "slow" && e.Out == 0 }}, slow, fast)
		s := hedge.Layer[int, int](hedge.Options{Delay: 20 * time.Millisecond, Budget: hedge.NewBudget(1)})(b)
		for range 20 {
			_, _ = s.Call(t.Context(), 1)
		}
		ill = false
		for range 200 {
			_, err := s.Call(t.Context(), 1)
			require.NoError(t, err)
			<-time.After(100 * time.Millisecond)
		}
		require.True(t, back)
	})
}

func TestAProbeThatIsOutrunAtOnceDoesNotMakeAMemberLookFast(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var back bool
		a, b := newServer("a", 10*time.Millisecond), newServer("b", 0)
		s := pool(balance.Options{OnChange: func(e balance.Event) { back = e.Out == 0 }}, a, b)
		b.fail(errBoom)
		for range 10 {
			_, _ = s.Call(t.Context(), 1)
		}
		b.recover()
		b.takes.Store(int64(time.Minute))
		<-time.After(10 * time.Second)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancel(turret.ErrOutrun) })
		_, err := s.Call(ctx, 1)
		require.ErrorIs(t, err, context.Canceled)
		require.True(t, back)

		b.calls.Store(0)
		for range 10 {
			go func() { _, _ = s.Call(t.Context(), 1) }()
			synctest.Wait()
		}
		require.LessOrEqual(t, b.calls.Load(), int64(6))
		<-time.After(time.Minute)
	})
}

func TestRemovingTheLastWellMemberLosesNoCall(t *testing.T) {
	fast := turret.ServiceFunc[int, int](func(_ context.Context, n int) (int, error) { return n, nil })
	ill := turret.ServiceFunc[int, int](func(context.Context, int) (int, error) { return 0, errors.New("ill") })
	b := balance.New(balance.Options{Names: []string{"ill", "well"}, Probation: time.Hour, MaxProbation: time.Hour}, ill, fast)
	for range 50 {
		_, _ = b.Call(t.Context(), 1) // puts ill on probation
	}
	stop := make(chan struct{})
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := b.Call(t.Context(), 1); errors.Is(err, balance.ErrNoMembers) {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2000 {
		b.Remove("well")
		b.Insert("well", fast)
	}
	close(stop)
	calls.Wait()
}

func TestWaitingBalancerIsReadyWithoutMembers(t *testing.T) {
	require.ErrorIs(t, turret.Ready(balance.New[int, int](balance.Options{})), balance.ErrNoMembers)
	require.NoError(t, turret.Ready(balance.New[int, int](balance.Options{Wait: true})))
}

func TestAProbationCanGrowAsLongAsThereIsTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ill, well := newServer("ill", 0), newServer("well", 0)
		ill.fail(errBoom)
		s := pool(balance.Options{MaxProbation: math.MaxInt64}, ill, well)
		for range 100 {
			_, _ = s.Call(t.Context(), 1)
		}
		require.EqualValues(t, 1, ill.calls.Load(), "it is on probation")
		<-time.After(time.Second)
		ill.takes.Store(int64(time.Hour))
		for range 10 {
			go func() { _, _ = s.Call(t.Context(), 1) }()
			synctest.Wait()
			<-time.After(time.Second)
		}
		require.EqualValues(t, 2, ill.calls.Load(), "the probe is under way, and is the only one")
	})
}
