package turret_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

func TestClaimIsFreeOutsideOfARace(t *testing.T) {
	require.True(t, turret.Claim(t.Context(), "east"))
	require.True(t, turret.Claim(t.Context(), "east"))
}

func TestClaimedReplicaIsItsCallsAlone(t *testing.T) {
	var race turret.Race
	one, two := race.Join(t.Context()), race.Join(t.Context())
	require.True(t, turret.Claim(one, "east"))
	require.True(t, turret.Claim(turret.WithAttempt(one, 2), "east"), "a call may come back to its own")
	require.False(t, turret.Claim(two, "east"))
	require.True(t, turret.Claim(two, "west"))
	require.False(t, turret.Claim(one, "west"))

	var other turret.Race
	require.True(t, turret.Claim(other.Join(t.Context()), "east"), "races do not know each other")
}

func TestClaimHoldsThroughRacesWithinRaces(t *testing.T) {
	var outer, in1, in2 turret.Race
	one, two := outer.Join(t.Context()), outer.Join(t.Context())
	require.True(t, turret.Claim(in1.Join(one), "east"))
	require.False(t, turret.Claim(in1.Join(one), "east"), "taken in the inner race")
	require.False(t, turret.Claim(in2.Join(two), "east"), "taken in the outer race")
	require.True(t, turret.Claim(in2.Join(two), "west"))
}

func TestClaimGivesAReplicaToOneOf64(t *testing.T) {
	var race turret.Race
	var got atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		ctx := race.Join(t.Context())
		wg.Go(func() {
			if turret.Claim(ctx, "east") {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, got.Load())
}

func TestClaimOutsideOfARaceAllocatesNothing(t *testing.T) {
	ctx, replica := context.WithValue(t.Context(), t, 1), new(int)
	require.Zero(t, testing.AllocsPerRun(100, func() { turret.Claim(ctx, replica) }))
}

func TestOutrunIsCanceled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(turret.ErrOutrun)
	for _, err := range []error{ctx.Err(), context.Cause(ctx), turret.WithClass(ctx.Err(), turret.Transient), errors.New("aborted")} {
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err), err)
	}
}
