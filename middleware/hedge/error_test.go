package hedge_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/hedge"
)

// failing returns the error of a call of which the original said one thing, and
// the hedge, before that, another.
func failing(t *testing.T, original, hedged error) error {
	s := &script{steps: []step{{takes: 20 * ms, err: original}, {err: hedged}}}
	_, err := wrap(s, hedge.Options{Delay: 10 * ms, Budget: every()}).Call(t.Context(), 1)
	return err
}

func TestAllFailedHoldsAllErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reset, busy := errors.New("connection reset"), saying{turret.Throttled, time.Second}
		err := failing(t, reset, busy)
		require.EqualError(t, err, "hedge: 2 calls failed: hedge 1: throttled; original: connection reset")
		require.ErrorIs(t, err, hedge.ErrFailed)
		require.ErrorIs(t, err, reset)
		require.ErrorIs(t, err, busy)
		var e *hedge.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, []hedge.CallError{{1, busy, turret.Throttled}, {0, reset, turret.Unknown}}, e.Calls)
	})
}

func TestErrorsClassIsTheMostHopeful(t *testing.T) {
	for _, tc := range []struct{ original, hedge, want turret.Class }{
		{turret.Throttled, turret.Transient, turret.Transient},
		{turret.Unknown, turret.Transient, turret.Transient},
		{turret.Rejected, turret.Unknown, turret.Unknown},
		{turret.Rejected, turret.Throttled, turret.Throttled},
		{turret.Rejected, turret.Rejected, turret.Rejected},
		{turret.Permanent, turret.Transient, turret.Permanent},
	} {
		synctest.Test(t, func(t *testing.T) {
			err := failing(t, of(tc.original), of(tc.hedge))
			require.Equal(t, tc.want, turret.Outcome(t.Context(), err), "%v, %v", tc.original, tc.hedge)
		})
	}
}

func TestErrorsRetryAfterIsTheSoonest(t *testing.T) {
	for _, tc := range []struct {
		original, hedge error
		want            time.Duration
		ok              bool
	}{
		{saying{turret.Rejected, 3}, saying{turret.Rejected, 2}, 2, true},
		{saying{turret.Rejected, 2}, saying{turret.Throttled, 3}, 2, true},
		{saying{turret.Rejected, 3}, of(turret.Transient), 0, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			got, ok := turret.RetryAfter(failing(t, tc.original, tc.hedge))
			require.Equal(t, tc.want, got)
			require.Equal(t, tc.ok, ok)
		})
	}
}
