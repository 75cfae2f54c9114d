package stats

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations. Its buckets are a unit wide at first, and twice as
// wide after every eight further ones, so that each is an eighth of what it
// holds.
type histogram struct {
	buckets [200]uint32 // up to some two minutes; the last one holds all beyond
	max     time.Duration
}

// unit is the width of the narrowest buckets, about a microsecond.
const unit = 1 << 10

func (h *histogram) add(d time.Duration) {
	h.buckets[bucket(d)]++
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
	h.max = max(h.max, other.max)
}

// percentile returns the duration that a share q of all do not exceed, or 0 of
// none: the middle of its bucket, or the longest if that is less.
func (h *histogram) percentile(q float64) time.Duration {
	var count uint64
	for _, n := range h.buckets {
		count += uint64(n)
	}
	rank := uint64(math.Ceil(q * float64(count)))
	if rank == 0 {
		return 0
	}
	var seen uint64
	for i, n := range h.buckets {
		if seen += uint64(n); seen >= rank {
			if i == len(h.buckets)-1 {
				return h.max
			}
			return min(middle(i), h.max)
		}
	}
	return h.max
}

// bucket returns which bucket d belongs to. From the eighth on, the top four bits
// of d say: their place is the octave, and the three that follow the first one
// are the bucket in it.
func bucket(d time.Duration) int {
	n := uint64(max(d, 0)) / unit
	if n < 8 {
		return int(n)
	}
	octave := bits.Len64(n) - 4
	return min((octave+1)*8+int(n>>octave)&7, len(histogram{}.buckets)-1)
}

// middle returns the duration in the middle of a bucket.
func middle(bucket int) time.Duration {
	if bucket < 8 {
		return time.Duration(bucket)*unit + unit/2
	}
	octave := bucket/8 - 1
	low := (8 + bucket%8) << octave
	return time.Duration(low)*unit + unit<<octave/2
}
