package adaptive_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/middleware/adaptive"
)

func TestOptionsValidate(t *testing.T) {
	for _, tt := range []struct {
		o    adaptive.Options
		want string
	}{
		{adaptive.Options{}, ""},
		{adaptive.Options{Min: 7, Max: 7, Initial: 7, Tolerance: 1, Window: 1, MaxQueue: adaptive.NoQueue, MaxWait: 1}, ""},
		{adaptive.Options{Max: 5}, ""},
		{adaptive.Options{Min: 50}, ""},
		{adaptive.Options{Min: -1}, "Min is -1; it is a number of calls, or 0 for 1"},
		{adaptive.Options{Max: -1}, "Max is -1"},
		{adaptive.Options{Max: 100_001}, "Max is 100001; it is 100000 at the most"},
		{adaptive.Options{Min: 6, Max: 5}, "Min is 6, above Max, which is 5"},
		{adaptive.Options{Min: 1001}, "Min is 1001, above Max, which is 1000"},
		{adaptive.Options{Initial: -1}, "Initial is -1"},
		{adaptive.Options{Initial: 2, Min: 3}, "Initial is 2, not between Min, which is 3, and Max, which is 1000"},
		{adaptive.Options{Initial: 6, Max: 5}, "Initial is 6, not between"},
		{adaptive.Options{Tolerance: 0.9}, "Tolerance is 0.9; latency may rise to so many times what it is without load, so it is at least 1"},
		{adaptive.Options{Tolerance: math.NaN()}, "Tolerance is NaN"},
		{adaptive.Options{Tolerance: math.Inf(1)}, "Tolerance is +Inf"},
		{adaptive.Options{Tolerance: -2}, "Tolerance is -2"},
		{adaptive.Options{Window: -1}, "Window is -1ns"},
		{adaptive.Options{MaxQueue: -2}, "MaxQueue is -2; it is how many calls may wait, 0 for 1024, or NoQueue"},
		{adaptive.Options{MaxWait: -time.Second}, "MaxWait is -1s; it is a time to wait, or 0 for as long as the context allows; not to wait at all is MaxQueue: NoQueue"},
	} {
		err := tt.o.Validate()
		if tt.want == "" {
			require.NoError(t, err)
			require.NotPanics(t, func() { adaptive.New(tt.o) })
			continue
		}
		require.ErrorContains(t, err, "adaptive: ")
		require.ErrorContains(t, err, tt.want)
		require.PanicsWithError(t, err.Error(), func() { adaptive.New(tt.o) })
		require.PanicsWithError(t, err.Error(), func() { adaptive.Layer[int, int](tt.o) })
	}
}
