package ratelimit_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret/middleware/ratelimit"
)

func TestOptionsValidate(t *testing.T) {
	nan, inf := rate.Limit(math.NaN()), rate.Limit(math.Inf(1))
	for _, tt := range []struct {
		o    ratelimit.Options
		want string // in the error; empty if there is none
	}{
		{ratelimit.Options{Rate: 500}, ""},
		{ratelimit.Options{Rate: rate.Every(time.Hour), Burst: 3, MaxWait: time.Second}, ""},
		{ratelimit.Options{Rate: 1, MaxWait: ratelimit.NoWait}, ""},
		{ratelimit.Options{Limiter: ratelimit.New(1, 1), MaxWait: ratelimit.NoWait}, ""},
		{ratelimit.Options{}, "Rate is 0, which lets nothing through; set the calls per second"},
		{ratelimit.Options{Rate: -5}, "Rate is -5; it is calls per second, and more than 0"},
		{ratelimit.Options{Rate: nan}, "Rate is NaN; it is calls per second"},
		{ratelimit.Options{Rate: inf}, "Rate is infinite, which limits nothing; leave the layer out instead"},
		{ratelimit.Options{Rate: -inf}, "Rate is -Inf; it is calls per second"},
		{ratelimit.Options{Rate: rate.Inf}, "Rate is infinite"},
		{ratelimit.Options{Rate: 1, Burst: -1}, "Burst is -1; it is at least 1, or 0 for a tenth of a second's worth"},
		{ratelimit.Options{Rate: 1, MaxWait: -time.Second}, "MaxWait is -1s; it is a time to wait, 0 for as long as the context allows, or NoWait"},
		{ratelimit.Options{Limiter: ratelimit.New(1, 1), MaxWait: -time.Second}, "MaxWait is -1s"},
		{ratelimit.Options{Limiter: ratelimit.New(1, 1), Rate: 1}, "set one or the other"},
		{ratelimit.Options{Limiter: ratelimit.New(1, 1), Burst: 1}, "set one or the other"},
		{ratelimit.Options{Limiter: (*ratelimit.TokenBucket)(nil)}, "Limiter is a TokenBucket that is nil or zero; make one with ratelimit.New"},
		{ratelimit.Options{Limiter: &ratelimit.TokenBucket{}}, "Limiter is a TokenBucket that is nil or zero"},
		{ratelimit.Options{Limiter: (*ratelimit.Adaptive)(nil)}, "Limiter is an Adaptive that is nil or zero; make one with ratelimit.NewAdaptive"},
		{ratelimit.Options{Limiter: &ratelimit.Adaptive{}}, "Limiter is an Adaptive that is nil or zero"},
		{ratelimit.Options{Limiter: (*ratelimit.Queue)(nil)}, "Limiter is a Queue that is nil or zero; make one with ratelimit.NewQueue"},
		{ratelimit.Options{Limiter: &ratelimit.Queue{}}, "Limiter is a Queue that is nil or zero"},
	} {
		err := tt.o.Validate()
		if tt.want == "" {
			assert.NoError(t, err)
			assert.NotPanics(t, func() { ratelimit.Layer[int, int](tt.o) })
			continue
		}
		assert.ErrorContains(t, err, "ratelimit: ")
		assert.ErrorContains(t, err, tt.want)
		assert.PanicsWithError(t, err.Error(), func() { ratelimit.Layer[int, int](tt.o) })
	}
}
