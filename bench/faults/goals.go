package faults

import (
	"fmt"
	"slices"
	"time"

	"github.com/turretgo/turret/bench/table"
)

// A Goal is a figure to reach in some scenarios.
type Goal struct {
	Text      string
	Scenarios []string
	figure    func(r Result, of func(signer string) Result) (string, bool)
}

const (
	turret = "turret"
	hedged = "turret hedged"
)

var notOutages = []string{"calm", "tail", "flaky", "hangs", "quota"}
var outages = []string{"outage", "hung outage", "hung outage, 400/s"}

// Goals are what the stack of the zero Defaults is tuned for. Where they speak of
// hedging, it is that of a stack with a Hedge.
var Goals = []Goal{
	{"all within 2 s", []string{"calm", "flaky", "hangs"}, share(func(r Result) float64 { return r.Soon }, 1)},
	{"no wrong signature", []string{"calm", "flaky", "hangs", "quota"}, count(func(r Result) int { return r.Wrong })},
	{"hedged p99 at most three medians", []string{"calm", "tail"}, func(_ Result, of func(string) Result) (string, bool) {
		r := of(hedged)
		medians := float64(r.P99) / float64(max(1, r.P50))
		return fmt.Sprintf("%.1f", medians), medians <= 3
	}},
	{"hedging costs at most 5 % more KMS calls", []string{"calm", "tail"}, func(r Result, of func(string) Result) (string, bool) {
		more := of(hedged).Calls/r.Calls - 1
		return fmt.Sprintf("%.1f %%", 100*more), more <= 0.05
	}},
	{"at most 1.2 calls a success", notOutages, atMost(func(r Result) float64 { return r.Calls }, 1.2)},
	{"at most 0.1 calls for each asked in the outage", outages, atMost(func(r Result) float64 { return r.OutageCalls }, 0.1)},
	{"first success within 500 ms of recovery", outages, within500ms},
	{"99 % within 10 s", []string{"quota"}, share(func(r Result) float64 { return r.InTime }, 0.99)},
	{"at most 0.02 throttled a success", []string{"quota"}, atMost(func(r Result) float64 { return r.Throttled }, 0.02)},
	{"nothing stuck", append([]string{"hangs"}, outages...), count(func(r Result) int { return r.Stuck })},
	{"p99 under 150 ms", []string{"flaky"}, func(r Result, _ func(string) Result) (string, bool) {
		return table.Duration(r.P99), r.P99 < 150*time.Millisecond
	}},
	{"nothing outlives its deadline by more than 50 ms", slices.Concat(notOutages, outages), count(func(r Result) int { return r.Outlived })},
	{"no goroutine left", slices.Concat(notOutages, outages), count(func(r Result) int { return r.Goroutines })},
}

func share(of func(Result) float64, want float64) func(Result, func(string) Result) (string, bool) {
	return func(r Result, _ func(string) Result) (string, bool) { return table.Percent(of(r)), of(r) >= want }
}

func atMost(of func(Result) float64, want float64) func(Result, func(string) Result) (string, bool) {
	return func(r Result, _ func(string) Result) (string, bool) { return fmt.Sprintf("%.3f", of(r)), of(r) <= want }
}

func count(of func(Result) int) func(Result, func(string) Result) (string, bool) {
	return func(r Result, _ func(string) Result) (string, bool) { return fmt.Sprint(of(r)), of(r) == 0 }
}

func within500ms(r Result, _ func(string) Result) (string, bool) {
	if r.Recovery < 0 {
		return "never", false
	}
	return table.Duration(r.Recovery), r.Recovery <= 500*time.Millisecond
}

// GoalsTable says which goals turret's results reach.
func GoalsTable(results []Result) table.Table {
	t := table.Table{Title: "### Goals", Head: []string{"goal", "scenario", "reached", ""}}
	for _, g := range Goals {
		for _, s := range g.Scenarios {
			find := func(signer string) Result {
				i := slices.IndexFunc(results, func(r Result) bool { return r.Scenario == s && r.Signer == signer })
				if i < 0 {
					return Result{}
				}
				return results[i]
			}
			r := find(turret)
			if r.Asked == 0 {
				continue
			}
			figure, ok := g.figure(r, find)
			t.Add(g.Text, s, figure, table.Verdict(ok))
		}
	}
	return t
}
