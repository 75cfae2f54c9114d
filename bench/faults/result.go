package faults

import (
	"cmp"
	"slices"
	"time"
)

// A Result is what a run comes to. Shares are of the signatures asked for.
type Result struct {
	Scenario, Signer string
	Asked            int
	Soon             float64 // share answered with a right signature within 2 s
	InTime           float64 // and within the patience of who asked, 10 s
	Wrong            int     // signatures that do not verify, handed out
	Stuck            int     // calls that had not returned a second after their deadline
	Outlived         int     // those, and calls that returned more than 50 ms after it
	P50, P95, P99    time.Duration
	Longest          time.Duration // of the right signatures, as are the quantiles; late ones among them

	Calls     float64 // KMS calls a success
	Throttled float64 // of them throttled, a success

	HasOutage    bool
	OutageCalls  float64       // KMS calls in the outage, for each signature asked for in it
	Recovery     time.Duration // from its end to the first success; -1: there was none
	Goroutines   int
	FirstFailure string `json:",omitempty"`
}

// Result sums a run up.
func (r *Run) Result() Result {
	res := Result{Scenario: r.Scenario, Signer: r.Signer, Asked: len(r.Calls), Goroutines: r.Goroutines}
	var took []time.Duration
	for _, c := range r.Calls {
		switch {
		case c.Took == 0:
			res.Stuck++
			res.Outlived++
		case c.Took > r.Patience+slack:
			res.Outlived++
		}
		if c.Wrong {
			res.Wrong++
		}
		if c.Err != "" && res.FirstFailure == "" {
			res.FirstFailure = c.Err
		}
		if c.Signed {
			took = append(took, c.Took)
		}
	}
	slices.Sort(took)
	asked := float64(max(1, len(r.Calls)))
	res.Soon = within(took, soon) / asked
	res.InTime = within(took, r.Patience) / asked
	res.P50, res.P95, res.P99, res.Longest = quantile(took, 0.5), quantile(took, 0.95), quantile(took, 0.99), quantile(took, 1)
	res.Calls = float64(r.KMS.Requests) / float64(max(1, len(took)))
	res.Throttled = float64(r.KMS.Throttled) / float64(max(1, len(took)))
	r.outage(&res)
	return res
}

func (r *Run) outage(res *Result) {
	if r.Outage[1] == 0 {
		return
	}
	asked := 0
	var ends []time.Duration // of successes after the outage
	for _, c := range r.Calls {
		if c.At >= r.Outage[0] && c.At < r.Outage[1] {
			asked++
		}
		if end := c.At + c.Took; c.Signed && end > r.Outage[1] {
			ends = append(ends, end)
		}
	}
	res.HasOutage = true
	res.OutageCalls = float64(r.InOutage.Requests) / float64(max(1, asked))
	res.Recovery = -1
	if len(ends) > 0 {
		res.Recovery = slices.Min(ends) - r.Outage[1]
	}
}

// within counts the times that are d at most.
func within(sorted []time.Duration, d time.Duration) float64 {
	n, _ := slices.BinarySearchFunc(sorted, d+1, cmp.Compare[time.Duration])
	return float64(n)
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
