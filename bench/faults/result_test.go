package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer/kmstest"
)

func TestAResultSumsARunUp(t *testing.T) {
	const s = time.Second
	run := Run{
		Scenario: "outage", Signer: "x", Patience: 10 * s, Outage: [2]time.Duration{2 * s, 7 * s},
		KMS: kmstest.Counts{Requests: 8, Throttled: 2}, InOutage: kmstest.Counts{Requests: 1},
		Calls: []Call{
			{At: 0, Took: 20 * time.Millisecond, Signed: true},
			{At: 1 * s, Took: 10 * time.Millisecond, Wrong: true},
			{At: 3 * s, Took: 4500 * time.Millisecond, Signed: true},
			{At: 4 * s, Took: 1 * s, Err: "down"},
			{At: 5 * s, Took: 10051 * time.Millisecond, Signed: true}, // too late
			{At: 6 * s}, // never
		},
	}
	require.Equal(t, Result{
		Scenario: "outage", Signer: "x", Asked: 6,
		Soon: 1.0 / 6, InTime: 2.0 / 6, Wrong: 1, Stuck: 1, Outlived: 2,
		P50: 4500 * time.Millisecond, P95: 10051 * time.Millisecond, P99: 10051 * time.Millisecond, Longest: 10051 * time.Millisecond,
		Calls: 8.0 / 3, Throttled: 2.0 / 3,
		HasOutage: true, OutageCalls: 0.25, Recovery: 500 * time.Millisecond,
		FirstFailure: "down",
	}, run.Result())
}

func TestThereIsNoRecoveryWithoutASuccessAfterIt(t *testing.T) {
	run := Run{Outage: [2]time.Duration{1, 2}, Calls: []Call{{At: 0, Took: 1, Signed: true}, {At: 3, Took: 1, Err: "no"}}}
	require.Equal(t, time.Duration(-1), run.Result().Recovery)
}

func TestArrivalsAreAsManyAsTheRateSays(t *testing.T) {
	for _, s := range Scenarios() {
		for _, p := range s.Phases {
			at := s.arrivals(p)
			require.Len(t, at, int(s.Rate*p.For.Seconds()))
			require.Less(t, at[len(at)-1], p.For)
		}
		require.Equal(t, len(s.Phases), len(s.Short().Phases))
	}
}
