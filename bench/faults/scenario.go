// Package faults measures what a signer is worth when its KMS fails: the same
// load, under the same faults, on each.
//
// The load is open: a signature is asked for when the schedule says so, however
// many are still under way. That is how clients of a server behave, who do not
// know of each other, and it is what a closed loop hides: one that waits for an
// answer before it asks again offers a hung KMS next to nothing.
//
// Time is the package time's, so a run is either in real time, across a network,
// or in a testing/synctest bubble, where an outage passes in a moment:
//
//	go run . faults                           # every signer, in real time
//	go test -run TestFaults -v ./faults       # in virtual time, some seconds
package faults

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/turretgo/turret/signer/kmstest"
)

// A Scenario is a load, and what the KMS does meanwhile.
type Scenario struct {
	Name     string
	Rate     float64       // signatures asked for a second
	Patience time.Duration // how long who asks waits: the deadline of the context that a signer is given
	Phases   []Phase
}

// A Phase is a while under the same faults.
type Phase struct {
	For    time.Duration
	Faults kmstest.Faults
	Outage bool
}

const (
	patience = 10 * time.Second
	soon     = 2 * time.Second
	slack    = 50 * time.Millisecond // how much later than its deadline a call may return
)

// Scenarios are those that docs/benchmarks.md shows. Wherever nothing else
// is said, the KMS answers in 20 ms, and in 40 ms ninety-nine times in a hundred.
func Scenarios() []Scenario {
	latency := kmstest.LogNormal(20*time.Millisecond, 40*time.Millisecond)
	calm := kmstest.Faults{Seed: 1, Latency: latency}
	with := func(f kmstest.Faults) kmstest.Faults {
		f.Seed, f.Latency = calm.Seed, latency
		return f
	}
	always := func(name string, f kmstest.Faults) Scenario {
		return Scenario{name, 100, patience, []Phase{{For: 10 * time.Second, Faults: f}}}
	}
	outage := func(name string, rate float64, f kmstest.Faults) Scenario {
		return Scenario{name, rate, patience, []Phase{
			{For: 2 * time.Second, Faults: calm},
			{For: 5 * time.Second, Faults: f, Outage: true},
			{For: 5 * time.Second, Faults: calm},
		}}
	}
	quota := always("quota", with(kmstest.Faults{Quota: 300}))
	quota.Rate = 400
	return []Scenario{
		always("calm", calm),
		always("tail", kmstest.Faults{Seed: 1, Latency: tailed(latency)}),
		always("flaky", with(kmstest.Faults{Throttle: 0.10, Internal: 0.02, Reset: 0.01, Corrupt: 0.005})),
		always("hangs", with(kmstest.Faults{Hang: 0.02})),
		outage("outage", 100, with(kmstest.Faults{Down: true})),
		outage("hung outage", 100, with(kmstest.Faults{Hang: 1})),
		outage("hung outage, 400/s", 400, with(kmstest.Faults{Hang: 1})),
		quota,
	}
}

// tailed makes one answer in fifty take from 0.3 to 1 s: a packet lost, a collector
// at work. It is what a hedge is for, and what a log-normal latency does not have.
func tailed(body func(*rand.Rand) time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		d := body(r)
		if r.Float64() < 0.02 {
			d += 300*time.Millisecond + time.Duration(r.Float64()*float64(700*time.Millisecond))
		}
		return d
	}
}

// Find returns the scenario of that name.
func Find(name string) (Scenario, error) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
	}
	return Scenario{}, fmt.Errorf("there is no scenario %q", name)
}

// Short is the scenario in a fifth of the time, with less patience.
func (s Scenario) Short() Scenario {
	short := s
	short.Patience = 3 * time.Second
	short.Phases = nil
	for _, p := range s.Phases {
		p.For /= 5
		short.Phases = append(short.Phases, p)
	}
	return short
}

// HasOutage reports whether the KMS is away for a while.
func (s Scenario) HasOutage() bool {
	for _, p := range s.Phases {
		if p.Outage {
			return true
		}
	}
	return false
}

// arrivals returns when signatures are asked for in a phase, since its beginning.
func (s Scenario) arrivals(p Phase) []time.Duration {
	n := int(math.Round(s.Rate * p.For.Seconds()))
	at := make([]time.Duration, n)
	for i := range at {
		at[i] = time.Duration(float64(i) / s.Rate * float64(time.Second))
	}
	return at
}
