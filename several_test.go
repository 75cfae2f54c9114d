package turret_test

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

func TestHopefulIsTheMostHopefulClass(t *testing.T) {
	for _, tc := range []struct {
		classes []turret.Class
		want    turret.Class
	}{
		{nil, turret.Permanent},
		{[]turret.Class{turret.Permanent, turret.Permanent}, turret.Permanent},
		{[]turret.Class{turret.Permanent, turret.Rejected}, turret.Rejected},
		{[]turret.Class{turret.Rejected, turret.Throttled}, turret.Throttled},
		{[]turret.Class{turret.Throttled, turret.Unknown}, turret.Unknown},
		{[]turret.Class{turret.Unknown, turret.Transient}, turret.Transient},
		{[]turret.Class{turret.Transient, turret.Canceled}, turret.Canceled},
	} {
		require.Equal(t, tc.want, turret.Hopeful(tc.classes...), "%v", tc.classes)
	}
}

func TestSoonestIsTheSoonestThatAnyAskedFor(t *testing.T) {
	gone := turret.WithClass(after(1), turret.Permanent)
	for name, tc := range map[string]struct {
		errs []error
		want time.Duration
		ok   bool
	}{
		"none":                         {nil, 0, false},
		"none asked":                   {[]error{io.EOF, io.EOF}, 0, false},
		"two":                          {[]error{after(3), after(2)}, 2, true},
		"one may answer at once":       {[]error{after(3), io.EOF}, 0, true},
		"a permanent one is no answer": {[]error{gone, after(3)}, 3, true},
	} {
		d, ok := turret.Soonest(tc.errs...)
		require.Equal(t, tc.want, d, name)
		require.Equal(t, tc.ok, ok, name)
	}
}

// refused is a refusal with a time.
type refused time.Duration

func (r refused) Error() string                     { return "refused" }
func (r refused) Class() turret.Class               { return turret.Rejected }
func (r refused) RetryAfter() (time.Duration, bool) { return time.Duration(r), true }

func TestUnreadyFanOutIsAsHopefulAsItsReplicas(t *testing.T) {
	err := turret.Ready(fanOut{&closer{ready: refused(3)}, &closer{ready: refused(2)}})
	require.Equal(t, turret.Rejected, turret.Classify(err))
	d, ok := turret.RetryAfter(err)
	require.True(t, ok)
	require.EqualValues(t, 2, d)
	require.ErrorIs(t, err, refused(3))
}
