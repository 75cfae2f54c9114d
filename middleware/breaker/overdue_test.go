package breaker_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

const patience = time.Second

// impatient runs test in a bubble, on an impatient breaker that is half-open.
func impatient(t *testing.T, s gobreaker.Settings, test func(*testing.T, *breaker.Breaker, turret.Service[behaviour, string])) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.NewImpatient(s, patience)
		svc := breaker.Share[behaviour, string](b)(&backend{})
		trip(t, svc)
		<-time.After(s.Timeout + 1)
		test(t, b, svc)
	})
}

// overdue starts a probe and lets it become overdue.
func overdue(t *testing.T, svc turret.Service[behaviour, string]) (end chan<- error, result <-chan error) {
	end, result = start(t.Context(), svc)
	<-time.After(patience)
	synctest.Wait()
	require.NoError(t, turret.Ready(svc), "the probe's place is free")
	return end, result
}

func call(t *testing.T, svc turret.Service[behaviour, string], do behaviour) error {
	_, err := svc.Call(t.Context(), do)
	return err
}

func TestAnOverdueProbeGivesItsPlaceToAnother(t *testing.T) {
	impatient(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		end, result := start(t.Context(), svc)
		<-time.After(patience - 1)
		synctest.Wait()
		require.ErrorIs(t, call(t, svc, works), breaker.ErrOpen, "it is in time still")
		<-time.After(1)
		synctest.Wait()
		assert.Equal(t, gobreaker.StateHalfOpen, b.State())
		require.NoError(t, call(t, svc, works))
		assert.Equal(t, gobreaker.StateClosed, b.State())

		require.ErrorIs(t, call(t, svc, fail(errDown)), errDown)
		end <- nil
		require.NoError(t, <-result, "the caller has its answer")
		assert.EqualValues(t, 1, b.Counts().ConsecutiveFailures, "it is closed already, and a late success says nothing")
	})
}

func TestABreakerIsPatientUnlessAskedNotToBe(t *testing.T) {
	halfOpen(t, settings, func(t *testing.T, _ *breaker.Breaker, svc turret.Service[behaviour, string]) {
		end, result := start(t.Context(), svc)
		<-time.After(time.Hour)
		require.ErrorIs(t, call(t, svc, works), breaker.ErrOpen)
		end <- nil
		require.NoError(t, <-result)
	})
}

func TestALateSuccessCloses(t *testing.T) {
	denied := turret.WithClass(errors.New("denied"), turret.Permanent)
	for _, answer := range []error{nil, denied} {
		impatient(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
			end, result := overdue(t, svc)
			secondEnd, secondResult := overdue(t, svc)
			end <- answer
			require.ErrorIs(t, <-result, answer)
			assert.Equal(t, gobreaker.StateClosed, b.State())
			require.NoError(t, call(t, svc, works))

			secondEnd <- errDown
			require.ErrorIs(t, <-secondResult, errDown)
			assert.Zero(t, b.Counts().TotalFailures)
		})
	}
}

func TestALateSuccessClosesThoughTheNextProbeFailed(t *testing.T) {
	impatient(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		end, result := overdue(t, svc)
		require.ErrorIs(t, call(t, svc, fail(errDown)), errDown)
		require.Equal(t, gobreaker.StateOpen, b.State())
		end <- nil
		require.NoError(t, <-result)
		assert.Equal(t, gobreaker.StateClosed, b.State())
	})
}

func TestALateSuccessSaysNothingOfALaterOutage(t *testing.T) {
	impatient(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		end, result := overdue(t, svc)
		require.NoError(t, call(t, svc, works)) // the outage is over
		require.Equal(t, gobreaker.StateClosed, b.State())

		trip(t, svc)
		end <- nil
		require.NoError(t, <-result)
		assert.Equal(t, gobreaker.StateOpen, b.State())
	})
}

func TestALateFailureIsIgnored(t *testing.T) {
	throttled := turret.WithClass(errors.New("slow down"), turret.Throttled)
	for _, answer := range []error{errDown, throttled} {
		impatient(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
			end, result := overdue(t, svc)
			end <- answer
			require.ErrorIs(t, <-result, answer)
			assert.Equal(t, gobreaker.StateHalfOpen, b.State())
			require.NoError(t, call(t, svc, works))
			assert.Equal(t, gobreaker.StateClosed, b.State())
		})
	}
}

func TestALatePanicOrGoexitIsIgnored(t *testing.T) {
	for _, end := range []func(){func() { panic("boom") }, runtime.Goexit} {
		impatient(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
			release, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				_, _ = svc.Call(t.Context(), func(context.Context) error { <-release; end(); return nil })
				t.Error("it returned")
			}()
			<-time.After(patience)
			synctest.Wait()
			close(release)
			<-done
			assert.Equal(t, gobreaker.StateHalfOpen, b.State())
			require.NoError(t, call(t, svc, works))
		})
	}
}

// A service that hangs for good is asked MaxRequests times in each patience.
func TestAStampedeOnAServiceThatHangsIsBounded(t *testing.T) {
	s := settings
	s.MaxRequests = 3
	impatient(t, s, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		var under atomic.Int32
		hang := func(ctx context.Context) error {
			under.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		const rounds = 5
		for i := range rounds {
			for range 10 {
				for range 100 {
					go func() { _, _ = svc.Call(ctx, hang) }()
				}
				synctest.Wait()
				assert.EqualValues(t, 3*(i+1), under.Load())
				<-time.After(patience / 10)
			}
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		assert.Equal(t, gobreaker.StateHalfOpen, b.State(), "callers who leave decide nothing")
	})
}

func TestAllOfMaxRequestsDecideUnlessOneIsLate(t *testing.T) {
	s := settings
	s.MaxRequests = 2
	impatient(t, s, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		lateEnd, late := start(t.Context(), svc)
		<-time.After(patience / 2)
		youngEnd, young := start(t.Context(), svc)
		<-time.After(patience / 2)
		synctest.Wait()
		require.NoError(t, call(t, svc, works))
		assert.Equal(t, gobreaker.StateHalfOpen, b.State(), "one of two new ones")

		youngEnd <- nil
		require.NoError(t, <-young, "it lost its place with the other one")
		assert.Equal(t, gobreaker.StateClosed, b.State())
		lateEnd <- errDown
		require.ErrorIs(t, <-late, errDown)
		assert.Zero(t, b.Counts().TotalFailures)
	})
}

func TestAProbeIsNotOverdueOnceAnotherHasFailed(t *testing.T) {
	s := settings
	s.MaxRequests = 2
	impatient(t, s, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		end, result := start(t.Context(), svc)
		synctest.Wait()
		require.ErrorIs(t, call(t, svc, fail(errDown)), errDown)
		<-time.After(2 * patience)
		synctest.Wait()
		assert.Equal(t, gobreaker.StateOpen, b.State(), "for as long as it opens")
		end <- nil
		require.NoError(t, <-result)
		assert.Equal(t, gobreaker.StateOpen, b.State())
	})
}

// The watch is over one probe, and over nothing that comes later.
func TestAProbeThatReturnedIsNotWatched(t *testing.T) {
	impatient(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		<-time.After(patience / 2)
		gone, cancel := context.WithCancel(t.Context())
		_, result := start(gone, svc)
		<-time.After(patience / 2)
		cancel()
		require.ErrorIs(t, <-result, context.Canceled)

		end, result := start(t.Context(), svc)
		<-time.After(patience - 1) // the first one would have been overdue long since
		synctest.Wait()
		require.ErrorIs(t, call(t, svc, works), breaker.ErrOpen)
		end <- nil
		require.NoError(t, <-result)
	})
}

func TestWhatIsSaidFromOutsideHoldsAgainstLateSuccesses(t *testing.T) {
	for name, tc := range map[string]struct {
		say  func(*breaker.Breaker)
		want gobreaker.State
	}{
		"open":            {func(b *breaker.Breaker) { b.Open(time.Hour, "the fleet's") }, gobreaker.StateOpen},
		"reset":           {func(b *breaker.Breaker) { b.Reset() }, gobreaker.StateClosed},
		"reset and open":  {func(b *breaker.Breaker) { b.Reset(); b.Open(time.Hour, "the fleet's") }, gobreaker.StateOpen},
		"open, half-open": {func(b *breaker.Breaker) { b.Open(0, "the fleet's") }, gobreaker.StateHalfOpen},
	} {
		t.Run(name, func(t *testing.T) {
			impatient(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
				end, result := overdue(t, svc)
				tc.say(b)
				end <- nil
				require.NoError(t, <-result)
				assert.Equal(t, tc.want, b.State())
			})
		})
	}
}

func TestAProbeIsNotOverdueOnceOutsideSaidSomething(t *testing.T) {
	impatient(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		end, result := start(t.Context(), svc)
		synctest.Wait()
		b.Open(time.Hour, "the fleet's")
		<-time.After(2 * patience)
		synctest.Wait()
		assert.Equal(t, gobreaker.StateOpen, b.State())
		assert.ErrorContains(t, turret.Ready(svc), "open for another 59m58s")
		end <- nil
		require.NoError(t, <-result)
		assert.Equal(t, gobreaker.StateOpen, b.State())
	})
}

func TestAnOverdueProbeKeepsTheReason(t *testing.T) {
	impatient(t, settings, func(t *testing.T, _ *breaker.Breaker, svc turret.Service[behaviour, string]) {
		end, result := overdue(t, svc)
		second, secondResult := start(t.Context(), svc)
		synctest.Wait()
		assert.ErrorContains(t, turret.Ready(svc), "opened after 3 consecutive failures; the last: kms: internal error")
		second <- nil
		end <- nil
		require.NoError(t, errors.Join(<-result, <-secondResult))
	})
}

func TestChangesAreToldOnceHoweverManyProbesAreOverdue(t *testing.T) {
	var told []string
	s := settings
	s.OnStateChange = func(_ string, from, to gobreaker.State) { told = append(told, from.String()+" → "+to.String()) }
	impatient(t, s, func(t *testing.T, _ *breaker.Breaker, svc turret.Service[behaviour, string]) {
		end, result := overdue(t, svc)
		secondEnd, secondResult := overdue(t, svc)
		end <- nil
		require.NoError(t, <-result)
		secondEnd <- nil
		require.NoError(t, <-secondResult)
		assert.Equal(t, []string{"closed → open", "open → half-open", "half-open → closed"}, told)
	})
}

func TestStacksThatShareAnImpatientBreakerShareItsProbes(t *testing.T) {
	impatient(t, settings, func(t *testing.T, b *breaker.Breaker, svc turret.Service[behaviour, string]) {
		other := breaker.Share[int, int](b)(echo)
		end, result := overdue(t, svc)
		_, err := other.Call(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, gobreaker.StateClosed, b.State())
		end <- nil
		require.NoError(t, <-result)
	})
}

// With the race detector: overdue probes, answers and Open and Reset at once. Not in
// a bubble: there, time.After(0) in several goroutines at once crashes the race
// detector of Go 1.26.
func TestImpatienceIsSafeForConcurrentUse(t *testing.T) {
	s := settings
	s.Timeout = time.Millisecond
	b := breaker.NewImpatient(s, time.Millisecond)
	svc := breaker.Share[behaviour, string](b)(&backend{})
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			for n := range 100 {
				_, _ = svc.Call(t.Context(), func(context.Context) error {
					<-time.After(time.Duration((i+n)%4) * time.Millisecond)
					if n < 50 {
						return errDown
					}
					return nil
				})
				switch {
				case i == 0:
					b.Open(time.Millisecond, "others")
				case i == 1 && n%10 == 0:
					b.Reset()
				}
				<-time.After(time.Millisecond)
			}
		})
	}
	callers.Wait()
	works := func() bool { return call(t, svc, works) == nil }
	require.Eventually(t, works, 10*time.Second, time.Millisecond)
	assert.Equal(t, gobreaker.StateClosed, b.State())
}

func TestImpatienceHasToBeAboveZero(t *testing.T) {
	for _, d := range []time.Duration{0, -time.Second} {
		assert.PanicsWithError(t, "breaker: patience with a probe is "+d.String()+"; it must be above zero", func() {
			breaker.NewImpatient(settings, d)
		})
	}
	assert.Panics(t, func() { breaker.NewImpatient(gobreaker.Settings{Timeout: -1}, time.Second) })
}

func TestAnImpatientBreakerAllocatesNothingWhileClosed(t *testing.T) {
	svc := breaker.Share[int, int](breaker.NewImpatient(settings, patience))(echo)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = svc.Call(t.Context(), 1) }))
}

// What was admitted before the breaker opened counts no more, also where it shares
// an engine with a probe that is overdue.
func TestALateSuccessOfACallThatWasNoProbeIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.NewImpatient(settings, patience)
		svc := breaker.Share[behaviour, string](b)(&backend{})
		end, result := start(t.Context(), svc)
		synctest.Wait()
		trip(t, svc)
		<-time.After(settings.Timeout + 1)
		probeEnd, probeResult := overdue(t, svc)
		end <- nil
		require.NoError(t, <-result)
		assert.Equal(t, gobreaker.StateHalfOpen, b.State())
		probeEnd <- nil
		require.NoError(t, <-probeResult)
		assert.Equal(t, gobreaker.StateClosed, b.State())
	})
}
