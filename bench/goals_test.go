package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/bench/handshake"
	"github.com/turretgo/turret/bench/sign"
	"github.com/turretgo/turret/bench/table"
)

func TestGoalsAreReachedOrNot(t *testing.T) {
	text := func(tables ...table.Table) string {
		var b strings.Builder
		for _, t := range tables {
			_ = t.Write(&b)
		}
		return b.String()
	}
	at256 := func(signer string, rate float64, signatures, dials int) handshakeRow {
		return handshakeRow{Signer: signer, Clients: 256, Round: handshake.Round{Rate: rate, Signatures: signatures, Dials: dials}}
	}
	all := func(turretRate float64, dials int, ratio, allocs, cpu float64) string {
		return text(
			overheadGoals([]overheadRow{{What: "Stack", Contender: "failsafe-go", SerialRatio: ratio}, {What: "Stack", Contender: "turret", Allocs: allocs}}),
			signGoals([]sign.Cost{{Name: "turret, no quota", CPURatio: cpu}, {Name: "turret, no quota, SkipVerify", CPURatio: cpu}, {Name: "step", CPURatio: 2}}),
			handshakeGoals([]handshakeRow{
				{Signer: "step", Clients: 16, Round: handshake.Round{Rate: 9999, Signatures: 1}},
				at256("plain SDK", 400, 1, 1), at256("step", 500, 1, 1), at256(inMemory, 9999, 0, 0),
				at256("turret, no quota", turretRate, 1, dials), at256("turret, no quota, SDK's client", 9999, 1, 0),
			}),
		)
	}
	reached := all(1000, 0, 0.15, 1, 1.02)
	require.Equal(t, 6, strings.Count(reached, "| yes"), reached)
	require.NotContains(t, reached, "**no**")
	missed := all(999, 1, 0.16, 2, 1.021)
	require.Equal(t, 6, strings.Count(missed, "**no**"), missed)
	require.Contains(t, missed, "+2.1 %")
}
