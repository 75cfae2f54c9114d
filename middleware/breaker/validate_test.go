package breaker_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
)

func TestValidate(t *testing.T) {
	type s = gobreaker.Settings
	always := func(error) bool { return true }
	for name, c := range map[string]struct {
		s       s
		attempt time.Duration
		want    string // part of the error; none if empty
	}{
		"zero":                             {},
		"zero with an attempt timeout":     {attempt: time.Second},
		"interval, no attempt timeout":     {s: s{Interval: time.Second}},
		"interval longer than the attempt": {s: s{Interval: time.Minute}, attempt: time.Second},
		"rolling window":                   {s: s{Interval: time.Minute, BucketPeriod: 7 * time.Second}, attempt: time.Second},
		"one bucket":                       {s: s{Interval: time.Minute, BucketPeriod: time.Minute}},
		"999 buckets":                      {s: s{Interval: 999 * time.Second, BucketPeriod: time.Second}},

		"negative timeout":             {s{Timeout: -1}, 0, "Timeout is -1ns: it is how long the breaker stays open; 0 means 60s"},
		"negative interval":            {s{Interval: -1}, 0, "Interval is -1ns"},
		"negative bucket":              {s{BucketPeriod: -1}, 0, "BucketPeriod is -1ns"},
		"bucket without interval":      {s{BucketPeriod: 1}, 0, "set Interval"},
		"bucket longer than interval":  {s{BucketPeriod: 2, Interval: 1}, 0, "longer than the Interval of 1ns"},
		"too many buckets":             {s{BucketPeriod: 1, Interval: 1000}, 0, "use fewer than 1000"},
		"a window that overflows":      {s{BucketPeriod: 2, Interval: math.MaxInt64}, 0, "use fewer than 1000"},
		"a window rounded up over":     {s{BucketPeriod: math.MaxInt64 / 10, Interval: math.MaxInt64}, 0, "longer than there is time"},
		"interval of the attempt":      {s{Interval: time.Second}, time.Second, "no longer than the attempt timeout of 1s"},
		"interval shorter":             {s{Interval: time.Second}, time.Minute, "no longer than the attempt timeout of 1m0s"},
		"IsSuccessful":                 {s{IsSuccessful: always}, 0, "turret.WithClass(err, turret.Permanent)"},
		"IsExcluded":                   {s{IsExcluded: always}, 0, "turret.WithClass(err, turret.Throttled)"},
		"the error carries the name":   {s{Name: "kms/eu-west-1", Timeout: -1}, 0, "breaker kms/eu-west-1: Settings.Timeout is"},
		"a name is no format":          {s{Name: "100%d", Timeout: -1}, 0, "breaker 100%d: Settings.Timeout is -1ns"},
		"without a name the layer's":   {s{Timeout: -1}, 0, "breaker: Settings.Timeout is"},
		"rolling window, long attempt": {s{Interval: time.Second, BucketPeriod: time.Millisecond * 100}, time.Second, "never trip"},
	} {
		t.Run(name, func(t *testing.T) {
			err := breaker.Validate(c.s, c.attempt)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			if c.attempt == 0 {
				assert.PanicsWithError(t, err.Error(), func() { breaker.New(c.s) })
				assert.PanicsWithError(t, err.Error(), func() { breaker.Layer[int, int](c.s) })
			}
		})
	}
}

func TestShareOfNoBreakerPanics(t *testing.T) {
	for _, b := range []*breaker.Breaker{nil, {}} {
		assert.PanicsWithValue(t, "breaker: Share of a Breaker that is nil or zero; make one with breaker.New",
			func() { breaker.Share[int, int](b) })
	}
}

// Why Validate wants to know the attempt timeout: this is what it prevents.
func TestAnIntervalNoLongerThanTheAttemptNeverTripsOnHangs(t *testing.T) {
	const attempt = time.Second
	outage := func(t *testing.T, interval time.Duration) (opened bool) {
		synctest.Test(t, func(t *testing.T) {
			svc := breaker.Layer[behaviour, string](gobreaker.Settings{Interval: interval})(&backend{})
			for range 100 { // ten seconds of calls that hang, ten a second
				go func() {
					<-time.After(time.Millisecond)
					_, _ = svc.Call(t.Context(), func(ctx context.Context) error { <-time.After(attempt); return attemptTimeout{} })
				}()
				<-time.After(100 * time.Millisecond)
				opened = opened || turret.Ready(svc) != nil
			}
			<-time.After(2 * attempt)
		})
		return opened
	}
	assert.False(t, outage(t, attempt))
	require.Error(t, breaker.Validate(gobreaker.Settings{Interval: attempt}, attempt))
	assert.True(t, outage(t, 3*attempt))
	require.NoError(t, breaker.Validate(gobreaker.Settings{Interval: 3 * attempt}, attempt))
}
