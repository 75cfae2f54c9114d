package soak

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/turretgo/turret/signer/kmstest"
)

// A phase is a while under the same faults.
type phase struct {
	name   string
	faults kmstest.Faults
	home   bool // the first Region alone has them
}

var phases = []phase{
	{name: "calm"},
	{name: "flaky", faults: kmstest.Faults{Throttle: 0.05, Internal: 0.02, Reset: 0.01, Corrupt: 0.005}},
	{name: "hangs", faults: kmstest.Faults{Hang: 0.02}},
	{name: "home down", faults: kmstest.Faults{Down: true}, home: true},
	{name: "calm"},
	{name: "throttle", faults: kmstest.Faults{Throttle: 0.3}},
	{name: "corrupt", faults: kmstest.Faults{Corrupt: 0.1}},
	{name: "calm"},
	{name: "home hung", faults: kmstest.Faults{Hang: 1}, home: true},
	{name: "resets", faults: kmstest.Faults{Reset: 0.1, Internal: 0.05}},
	{name: "all down", faults: kmstest.Faults{Down: true}},
}

// latency is small, so that a soak is not mostly waiting, but long enough for the
// least patient callers to leave in the middle of a request.
var latency = kmstest.LogNormal(2*time.Millisecond, 10*time.Millisecond)

// weather makes one phase follow the other in every KMS until ctx ends, and then
// makes them well.
func (s *soak) weather(ctx context.Context) {
	tick := time.NewTicker(s.Phase)
	defer tick.Stop()
	for i := 0; ; i++ {
		s.inject(phases[i%len(phases)], uint64(i))
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.inject(phase{}, 0)
			return
		}
	}
}

func (s *soak) inject(p phase, seed uint64) {
	for _, r := range s.stacks {
		for i, region := range r.regions {
			f := p.faults
			if p.home && i > 0 {
				f = kmstest.Faults{}
			}
			f.Seed, f.Latency = seed, latency
			region.server.Inject(f)
		}
	}
}

const (
	shortest = time.Millisecond
	longest  = 2 * time.Second
)

// patience is how long a caller waits: half of them less than some 45 ms.
func patience() time.Duration {
	return time.Duration(float64(shortest) * math.Pow(float64(longest)/float64(shortest), rand.Float64()))
}
