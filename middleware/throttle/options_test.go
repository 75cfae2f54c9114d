package throttle_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/middleware/throttle"
)

func TestValidate(t *testing.T) {
	history := throttle.NewHistory(time.Minute)
	for _, tt := range []struct {
		o    throttle.Options
		want string // empty if there is nothing wrong
	}{
		{throttle.Options{}, ""},
		{throttle.Options{K: 1}, ""},
		{throttle.Options{K: 1.1, Window: time.Second, Probe: 1}, ""},
		{throttle.Options{History: history}, ""},
		{throttle.Options{K: 0.99}, "K is 0.99; it is how many calls may be made for each accepted, a finite number of at least 1, or 0 for 2"},
		{throttle.Options{K: -2}, "K is -2"},
		{throttle.Options{K: math.NaN()}, "K is NaN"},
		{throttle.Options{K: math.Inf(1)}, "K is +Inf"},
		{throttle.Options{K: math.Inf(-1)}, "K is -Inf"},
		{throttle.Options{Probe: -1}, "Probe is -1ns"},
		{throttle.Options{Window: -time.Second}, "Window is -1s; it is how long calls are remembered"},
		{throttle.Options{Window: 29}, "Window is 29ns"},
		{throttle.Options{History: history, Window: time.Second}, "both History and Window are set"},
		{throttle.Options{History: new(throttle.History)}, "History is a zero History"},
	} {
		err := tt.o.Validate()
		if tt.want == "" {
			require.NoError(t, err)
			require.NotPanics(t, func() { throttle.Layer[int, int](tt.o) })
			continue
		}
		require.ErrorContains(t, err, "throttle: ")
		require.ErrorContains(t, err, tt.want)
		require.PanicsWithError(t, err.Error(), func() { throttle.Layer[int, int](tt.o) })
	}
}

func TestNewHistoryRefusesNonsense(t *testing.T) {
	for _, bad := range []time.Duration{0, -1, 29} {
		require.Panics(t, func() { throttle.NewHistory(bad) })
	}
}
