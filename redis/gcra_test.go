package fleet

import (
	"context"
	"sync"
	"time"
)

// gcra is a store that counts as redis_rate's script does, on the bubble's
// clock, and can fall ill.
type gcra struct {
	each      time.Duration
	burst     int
	roundTrip time.Duration

	mu     sync.Mutex
	tat    time.Time
	err    error
	hangs  bool // answers nobody, until the caller's context ends
	deaf   bool // not even then
	late   int  // one in so many gets no answer in time
	calls  int
	grants int
	heal   chan struct{} // closed when deaf ends
}

func newGCRA(o LimiterOptions) *gcra {
	o = o.withDefaults()
	return &gcra{
		each:      time.Duration(float64(time.Second) / float64(o.Rate)),
		burst:     o.Burst,
		roundTrip: time.Millisecond / 2,
		heal:      make(chan struct{}),
	}
}

func (g *gcra) allow(ctx context.Context, n int) (bool, time.Duration, error) {
	g.mu.Lock()
	g.calls++
	err, hangs, deaf, roundTrip := g.err, g.hangs || g.late > 0 && g.calls%g.late == 0, g.deaf, g.roundTrip
	g.mu.Unlock()
	switch {
	case err != nil:
		return false, 0, err
	case deaf:
		<-g.heal
	case hangs:
		<-ctx.Done()
		return false, 0, ctx.Err()
	}
	select {
	case <-time.After(roundTrip):
	case <-ctx.Done():
		return false, 0, ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.tat.Before(now) {
		g.tat = now
	}
	tat := g.tat.Add(time.Duration(n) * g.each)
	if early := tat.Add(-time.Duration(g.burst) * g.each).Sub(now); early > 0 {
		return false, early, nil
	}
	g.tat = tat
	g.grants += n
	return true, 0, nil
}

func (g *gcra) set(f func(*gcra)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g)
}

func (g *gcra) counts() (calls, grants int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls, g.grants
}
