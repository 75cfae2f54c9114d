package main

import (
	"fmt"
	"strings"

	"github.com/turretgo/turret/bench/sign"
	"github.com/turretgo/turret/bench/signers"
	"github.com/turretgo/turret/bench/table"
)

// Those of faults are with its scenarios. Docs/benchmarks.md says of each that is
// missed why, and what was tried.

func newGoals() table.Table {
	return table.Table{Title: "### Goals", Head: []string{"goal", "reached", ""}}
}

// overheadGoals are for the success path of the stack of four.
func overheadGoals(rows []overheadRow) table.Table {
	t := newGoals()
	for _, r := range rows {
		switch {
		case r.What == "Stack" && r.Contender == "failsafe-go":
			t.Add("the stack of four in 0.15 of failsafe-go's time", fmt.Sprintf("%.2f", r.SerialRatio), table.Verdict(r.SerialRatio <= 0.15))
		case r.What == "Stack" && r.Contender == "turret":
			t.Add("one allocation", fmt.Sprintf("%.0f", r.Allocs), table.Verdict(r.Allocs <= 1))
		}
	}
	return t
}

// signGoals are for the CPU of a signature.
func signGoals(costs []sign.Cost) table.Table {
	t := newGoals()
	for _, c := range costs {
		what := "at most 2 % more CPU than SDK code that verifies, too"
		switch c.Name {
		case signers.Unlimited.Name:
		case signers.Unverified.Name:
			what = "with SkipVerify, than SDK code that does not"
		default:
			continue
		}
		t.Add(what, fmt.Sprintf("%+.1f %%", 100*(c.CPURatio-1)), table.Verdict(c.CPURatio <= 1.02))
	}
	return t
}

// handshakeGoals are for 256 clients.
func handshakeGoals(rows []handshakeRow) table.Table {
	var turret handshakeRow
	var best float64 // of today's signers
	for _, r := range rows {
		switch {
		case r.Clients != 256:
		case r.Signer == signers.Unlimited.Name:
			turret = r
		case r.Signatures > 0 && !strings.HasPrefix(r.Signer, "turret"):
			best = max(best, r.Rate)
		}
	}
	t := newGoals()
	t.Add("at 256 clients, twice the handshakes of the best of the others", fmt.Sprintf("%.2f", turret.Rate/max(1, best)), table.Verdict(turret.Rate >= 2*best))
	t.Add("no dial in the steady state", fmt.Sprint(turret.Dials), table.Verdict(turret.Dials == 0))
	return t
}
