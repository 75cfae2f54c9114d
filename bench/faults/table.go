package faults

import (
	"fmt"
	"strconv"

	"github.com/turretgo/turret/bench/table"
)

// Tables are one for each scenario, with a line for each signer.
func Tables(results []Result) []table.Table {
	var tables []table.Table
	for _, s := range Scenarios() {
		t := table.Table{
			Title: "### " + s.Name,
			Head:  []string{"signer", "within 2 s", "within 10 s", "wrong", "stuck", "outlived", "p50", "p95", "p99", "longest", "calls", "throttled"},
		}
		if s.HasOutage() {
			t.Head = append(t.Head, "calls in outage", "recovery")
		}
		t.Head = append(t.Head, "goroutines")
		for _, r := range results {
			if r.Scenario == s.Name {
				t.Add(r.cells()...)
			}
		}
		if len(t.Rows) > 0 {
			tables = append(tables, t)
		}
	}
	return tables
}

func (r Result) cells() []string {
	cells := []string{
		r.Signer, table.Percent(r.Soon), table.Percent(r.InTime),
		strconv.Itoa(r.Wrong), strconv.Itoa(r.Stuck), strconv.Itoa(r.Outlived),
		table.Duration(r.P50), table.Duration(r.P95), table.Duration(r.P99), table.Duration(r.Longest),
		fmt.Sprintf("%.2f", r.Calls), fmt.Sprintf("%.3f", r.Throttled),
	}
	if r.HasOutage {
		recovery := "never"
		if r.Recovery >= 0 {
			recovery = table.Duration(r.Recovery)
		}
		cells = append(cells, fmt.Sprintf("%.3f", r.OutageCalls), recovery)
	}
	return append(cells, strconv.Itoa(r.Goroutines))
}
