package balance_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// ---- members come and go

func TestInsertAndRemoveWhileCallsRun(t *testing.T) {
	var inserted atomic.Int64
	s := balance.New(balance.Options{Probation: time.Millisecond}, svc(newServer("rock", 0)))
	ctx, cancel := context.WithCancel(t.Context())
	var callers, changers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.Call(t.Context(), 1); err != nil && !errors.Is(err, errBoom) {
					t.Error(err)
				}
			}
		})
	}
	for i := range 4 {
		changers.Go(func() {
			for j := range 200 {
				name := fmt.Sprint(i, j%3)
				guest := newServer(name, 0)
				if j%4 == 0 {
					guest.fail(errBoom)
				}
				s.Insert(name, guest)
				inserted.Add(1)
				_ = turret.Describe(s)
				_ = turret.Ready(s)
				if j%5 > 0 {
					s.Remove(name)
				}
			}
		})
	}
	changers.Wait()
	cancel()
	callers.Wait()
	require.EqualValues(t, 800, inserted.Load())
}

func TestRemoveLetsCallsUnderWayFinishAndNoneBegin(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newServer("a", time.Second), newServer("b", time.Second)
		s := pool(balance.Options{}, a, b)
		answers := make(chan string, 10)
		for range 10 {
			go func() { r, _ := s.Call(t.Context(), 1); answers <- r }()
			synctest.Wait()
		}
		require.EqualValues(t, 5, a.underWay.Load())
		require.True(t, s.Remove("a"))
		require.False(t, s.Remove("a"))
		a.calls.Store(0)
		load(t, s, 10, 3*time.Second)
		require.Zero(t, a.calls.Load())
		got := map[string]int{}
		for range 10 {
			got[<-answers]++
		}
		require.Equal(t, map[string]int{"a": 5, "b": 5}, got)
	})
}

func TestOnRemovedComesOnceAfterTheLastCall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var gone []string
		o := balance.Options{OnRemoved: func(name string, member any) {
			require.Zero(t, member.(*server).underWay.Load())
			gone = append(gone, name)
		}}
		a, b := newServer("a", time.Second), newServer("b", time.Minute)
		s := pool(o, a, b)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _, _ = s.Call(t.Context(), 1) })
			synctest.Wait()
		}
		s.Remove("b")
		require.Empty(t, gone, "a call is under way")
		<-time.After(2 * time.Second)
		s.Remove("a")
		require.Equal(t, []string{"a"}, gone, "no call is")
		wg.Wait()
		require.Equal(t, []string{"a", "b"}, gone)
	})
}

func TestARemovedMemberIsClosedOnlyIfAsked(t *testing.T) {
	for _, asked := range []bool{false, true} {
		var o balance.Options
		if asked {
			o.OnRemoved = func(_ string, member any) { _ = turret.Close(member) }
		}
		s, c := balance.New[int, string](o), &closing{}
		s.Insert("c", c)
		s.Remove("c")
		require.Equal(t, asked, c.closed)
	}
}

type closing struct{ closed bool }

func (c *closing) Call(context.Context, int) (string, error) { return "", nil }
func (c *closing) Close() error                              { c.closed = true; return nil }

func TestInsertReplacesAMemberOfTheSameName(t *testing.T) {
	var gone []any
	first, second := newServer("first", 0), newServer("second", 0)
	s := balance.New[int, string](balance.Options{OnRemoved: func(_ string, member any) { gone = append(gone, member) }})
	s.Insert("a", first)
	s.Insert("b", newServer("b", 0))
	s.Insert("a", second)
	require.Equal(t, []any{first}, gone)
	require.Equal(t, "balance by peak latency over 10s: a, b\n  server second\n  server b", turret.Describe(s))
	s.Remove("b")
	got, err := s.Call(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "second", got)
}

func TestRemovingTheLastMemberThatIsInBringsTheOthersBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var events []balance.Event
		a, b := newServer("a", time.Millisecond), newServer("b", time.Millisecond)
		s := pool(balance.Options{OnChange: func(e balance.Event) { events = append(events, e) }}, a, b)
		b.fail(errBoom)
		load(t, s, 1, 100*time.Millisecond)
		require.Len(t, events, 1)
		s.Remove("a")
		require.Equal(t, balance.Event{Name: "b"}, events[1])
		_, err := s.Call(t.Context(), 1)
		require.Same(t, errBoom, err, "there is nobody else")
	})
}

func TestFollowMakesTheChangesThatCome(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := balance.New[int, string](balance.Options{Wait: true})
		changes := make(chan balance.Change[int, string])
		followed := make(chan error)
		go func() { followed <- s.Follow(t.Context(), changes) }()
		answer := make(chan string)
		go func() { r, _ := s.Call(t.Context(), 1); answer <- r }()
		synctest.Wait()
		changes <- balance.Change[int, string]{Name: "a", Service: newServer("a", 0)}
		require.Equal(t, "a", <-answer)
		changes <- balance.Change[int, string]{Name: "b", Service: newServer("b", 0)}
		changes <- balance.Change[int, string]{Name: "a"}
		close(changes)
		require.NoError(t, <-followed)
		require.Equal(t, "balance by peak latency over 10s: b", s.String())

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, context.Canceled, s.Follow(ctx, nil))
	})
}

// ---- no members

func TestNoMembersIsErrNoMembers(t *testing.T) {
	s := balance.New[int, string](balance.Options{})
	_, err := s.Call(t.Context(), 1)
	require.ErrorIs(t, err, balance.ErrNoMembers)
	require.Equal(t, turret.Rejected, turret.Outcome(t.Context(), err))
	require.EqualError(t, err, "balance: no members")
}

func TestNoMembersWaitsByOption(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := balance.New[int, string](balance.Options{Wait: true})
		time.AfterFunc(time.Minute, func() { s.Insert("a", newServer("a", 0)) })
		start := time.Now()
		got, err := s.Call(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "a", got)
		require.Equal(t, time.Minute, time.Since(start))

		s.Remove("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.Call(ctx, 1)
		require.Equal(t, time.Minute+time.Second, time.Since(start))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, balance.ErrNoMembers)
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
		require.EqualError(t, err, "balance: no members: context deadline exceeded")

		_, err = timeout.Layer[int, string](time.Second)(s).Call(t.Context(), 1)
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorIs(t, err, balance.ErrNoMembers)
	})
}

func TestARetryAboveReachesAnotherMember(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newServer("a", 20*time.Millisecond), newServer("b", 20*time.Millisecond)
		s := retry.Layer[int, string](retry.Options{})(pool(balance.Options{}, a, b))
		b.fail(errBoom)
		for range 100 {
			got, err := s.Call(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, "a", got)
		}
	})
}

// ---- what a stack can ask

func TestReadyWhenAnyMemberIs(t *testing.T) {
	a, b := newServer("a", 0), newServer("b", 0)
	s := pool(balance.Options{}, a, b)
	a.unready(errBoom)
	require.NoError(t, turret.Ready(s))
	b.unready(errBoom)
	require.ErrorIs(t, turret.Ready(s), errBoom)
	b.readyAgain()
	s.Remove("b")
	require.ErrorIs(t, turret.Ready(s), errBoom)
	s.Remove("a")
	require.Equal(t, balance.ErrNoMembers, turret.Ready(s))
}

func TestDescribeNamesTheMembers(t *testing.T) {
	o := balance.Options{Load: balance.Pending, Names: []string{"", "west"}}
	s := balance.New(o, svc(newServer("a", 0)), newServer("b", 0))
	require.Equal(t, "balance by pending calls: replica 1, west\n  server a\n  server b", turret.Describe(s))
	require.Equal(t, "balance by peak latency over 1s: no members",
		turret.Describe(balance.New[int, string](balance.Options{Decay: time.Second})))
}

func TestUnwrapIsASnapshot(t *testing.T) {
	a := newServer("a", 0)
	s := pool(balance.Options{}, a)
	require.Same(t, &s.Unwrap()[0], &s.Unwrap()[0], "cached")
	before := s.Unwrap()
	s.Insert("b", newServer("b", 0))
	require.Equal(t, []any{turret.Named("a", a)}, before)
	require.Len(t, s.Unwrap(), 2)
}

// ---- construction

func TestNewPanicsOnWhatCannotBe(t *testing.T) {
	require.PanicsWithError(t, "balance: Decay is -1ns; it must be above zero, or 0 for the default of 10s", func() {
		balance.New[int, string](balance.Options{Decay: -1})
	})
	require.Panics(t, func() { balance.New[int, string](balance.Options{}, nil) })
	require.Panics(t, func() {
		balance.New(balance.Options{Names: []string{"replica 2"}}, svc(newServer("", 0)), newServer("", 0))
	}, "two of one name")
	require.Panics(t, func() { balance.New[int, string](balance.Options{}).Insert("a", nil) })
}

func TestValidate(t *testing.T) {
	for _, o := range []balance.Options{
		{},
		{Names: []string{"", "", "a", "b"}},
		{Load: balance.Pending, Decay: time.Nanosecond, Failures: 1, Probation: time.Hour},
		{MaxProbation: time.Second},
	} {
		require.NoError(t, o.Validate())
	}
	for text, o := range map[string]balance.Options{
		`balance: two of the Names are "a"; they must differ`:                                         {Names: []string{"a", "", "a"}},
		"balance: Load is 2; it must be PeakEWMA or Pending":                                          {Load: 2},
		"balance: Decay is -1s; it must be above zero, or 0 for the default of 10s":                   {Decay: -time.Second},
		"balance: Failures is -1; it must be at least 1, or 0 for the default of 5":                   {Failures: -1},
		"balance: Probation is -1s; it must be above zero, or 0 for the default of 1s":                {Probation: -time.Second},
		"balance: MaxProbation is -1s; it must be above zero, or 0 for the default of 1m":             {MaxProbation: -time.Second},
		"balance: MaxProbation is 1ms, less than the Probation of 1s; it is what that grows up to":    {MaxProbation: time.Millisecond},
		"balance: MaxProbation is 1s, less than the Probation of 1h0m0s; it is what that grows up to": {MaxProbation: time.Second, Probation: time.Hour},
	} {
		require.EqualError(t, o.Validate(), text)
	}
}
