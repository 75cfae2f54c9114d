// Package sign measures what one signature costs the process that asks for it, in
// CPU and in allocations. The KMS is in another process and answers at once, so
// nearly all that is left is the SDK's work, and whatever stands around it.
package sign

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/turretgo/turret/bench/usage"
)

// A Contender signs digests.
type Contender struct {
	Name     string
	Baseline string // which contender it is compared with
	Sign     func(ctx context.Context, digest []byte) ([]byte, error)
}

// A Cost is what a signature took, the median of all rounds.
type Cost struct {
	Name, Baseline string
	Wall, CPU      time.Duration
	Allocs, Bytes  float64
	CPURatio       float64 // to the baseline: the median of the rounds' ratios
}

// Measure has the contenders sign in turn, in batches of n, so many rounds. What
// the machine does meanwhile befalls all alike, and a ratio is taken within a round.
func Measure(ctx context.Context, contenders []Contender, rounds, n int) ([]Cost, error) {
	batches := make([][]batch, len(contenders))
	for round := range rounds + 1 {
		for i := range contenders {
			i := (i + round) % len(contenders) // nobody always follows the same one
			b, err := measure(ctx, contenders[i], n)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", contenders[i].Name, err)
			}
			if round > 0 { // the first one opens connections
				batches[i] = append(batches[i], b)
			}
		}
	}
	var costs []Cost
	for i, c := range contenders {
		baseline := slices.IndexFunc(contenders, func(b Contender) bool { return b.Name == c.Baseline })
		cost := Cost{
			Name: c.Name, Baseline: c.Baseline,
			Wall:   medianOf(batches[i], func(b batch) time.Duration { return b.wall }) / time.Duration(n),
			CPU:    medianOf(batches[i], func(b batch) time.Duration { return b.used.CPU }) / time.Duration(n),
			Allocs: float64(medianOf(batches[i], func(b batch) uint64 { return b.used.Allocs })) / float64(n),
			Bytes:  float64(medianOf(batches[i], func(b batch) uint64 { return b.used.Bytes })) / float64(n),
		}
		if baseline >= 0 {
			var ratios []float64
			for round, b := range batches[i] {
				ratios = append(ratios, float64(b.used.CPU)/float64(max(1, batches[baseline][round].used.CPU)))
			}
			cost.CPURatio = medianOf(ratios, func(r float64) float64 { return r })
		}
		costs = append(costs, cost)
	}
	return costs, nil
}

type batch struct {
	wall time.Duration
	used usage.Reading
}

func measure(ctx context.Context, c Contender, n int) (batch, error) {
	runtime.GC() // what others left is not this one's to clear away
	before, start := usage.Read(), time.Now()
	for i := range n {
		digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		if _, err := c.Sign(ctx, digest[:]); err != nil {
			return batch{}, err
		}
	}
	return batch{time.Since(start), before.Since()}, nil
}

func medianOf[T any, V cmp.Ordered](all []T, value func(T) V) V {
	var values []V
	for _, t := range all {
		values = append(values, value(t))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
