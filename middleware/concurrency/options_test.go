package concurrency_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/concurrency"
)

func TestValidate(t *testing.T) {
	limit := concurrency.New(1)
	for want, o := range map[string]concurrency.Options{
		"Max is 0, which lets nothing through; set how many calls may be under way at once": {},
		"Max is -1, which lets nothing through":                                             {Max: -1},
		"MaxQueue is -2; it is how many calls may wait":                                     {Max: 1, MaxQueue: -2},
		"MaxWait is -1ns; it is a time to wait":                                             {Max: 1, MaxWait: -1},
		"both Limit and Max are set":                                                        {Max: 1, Limit: limit},
		"Limit is a zero Limit, which lets nothing through":                                 {Limit: new(concurrency.Limit)},
		"not to wait at all is MaxQueue: NoQueue":                                           {Limit: limit, MaxWait: -time.Second},
		"it is how many calls may wait, 0 for 1024, or NoQueue":                             {Limit: limit, MaxQueue: -5},
	} {
		err := o.Validate()
		require.ErrorContains(t, err, "concurrency: ")
		require.ErrorContains(t, err, want)
		require.PanicsWithError(t, err.Error(), func() { concurrency.Layer[int, int](o) })
	}
	for _, o := range []concurrency.Options{
		{Max: 1},
		{Limit: limit},
		{Max: 1, MaxQueue: concurrency.NoQueue, MaxWait: time.Second},
		{Max: 1 << 30, MaxQueue: 1, MaxWait: 1},
	} {
		require.NoError(t, o.Validate())
		require.NotPanics(t, func() { concurrency.Layer[int, int](o) })
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	for _, bad := range []int{0, -1} {
		require.Panics(t, func() { concurrency.New(bad) })
	}
	require.Equal(t, 7, concurrency.New(7).Max())
}

func TestDescribe(t *testing.T) {
	for want, o := range map[string]concurrency.Options{
		"concurrency 10, queue 1024":                     {Max: 10},
		"concurrency 3, queue 1024":                      {Limit: concurrency.New(3)},
		"concurrency 10, no queue":                       {Max: 10, MaxQueue: concurrency.NoQueue},
		"concurrency 10, queue 5, waits 50ms at most":    {Max: 10, MaxQueue: 5, MaxWait: 50 * time.Millisecond},
		"concurrency 10, queue 1024, waits 50ms at most": {Max: 10, MaxWait: 50 * time.Millisecond},
	} {
		require.Equal(t, want+"\nfunc", turret.Describe(wrap(o, turret.ServiceFunc[int, int](echo))))
	}
}
