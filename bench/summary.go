package main

import (
	"fmt"
	"strings"

	"github.com/turretgo/turret/bench/faults"
	"github.com/turretgo/turret/bench/signers"
	"github.com/turretgo/turret/bench/table"
)

// summary is the table for the README: what a signer is worth in a few figures.
func summary(results []faults.Result, handshakes []handshakeRow) string {
	find := func(scenario, signer string) faults.Result {
		for _, r := range results {
			if r.Scenario == scenario && r.Signer == signer {
				return r
			}
		}
		return faults.Result{}
	}
	rate := func(signer string) string {
		if signer == "turret" {
			signer = signers.Unlimited.Name // the others keep to no quota
		}
		for _, r := range handshakes {
			if r.Signer == signer && r.Clients == 256 {
				return fmt.Sprintf("%.0f", r.Rate)
			}
		}
		return "–"
	}
	t := table.Table{Head: []string{"signer", "flaky KMS: within 2 s", "p99", "wrong signatures", "hung for 5 s: answered within 10 s", "stuck for ever", "TLS handshakes a second, no quota"}}
	for _, c := range signers.All() {
		flaky, hung := find("flaky", c.Name), find("hung outage", c.Name)
		if flaky.Asked == 0 || hung.Asked == 0 {
			continue
		}
		t.Add(c.Name, table.Percent(flaky.Soon), table.Duration(flaky.P99), fmt.Sprintf("%d of %d", flaky.Wrong, flaky.Asked),
			table.Percent(hung.InTime), fmt.Sprintf("%d of %d", hung.Stuck, hung.Asked), rate(c.Name))
	}
	var b strings.Builder
	_ = t.Write(&b) // to memory
	return b.String()
}
