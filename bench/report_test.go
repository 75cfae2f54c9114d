package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/bench/faults"
	"github.com/turretgo/turret/bench/handshake"
)

func TestTextsGoBetweenTheirMarkers(t *testing.T) {
	const document = "# A\n<!-- bench:a -->\nold\n<!-- /bench:a -->\nmiddle\n<!-- bench:b -->\n<!-- /bench:b -->\nend\n"
	filled, err := fill(document, map[string]string{"a": "new\n", "b": "too\n\n", "c": "nowhere"})
	require.NoError(t, err)
	require.Equal(t, "# A\n<!-- bench:a -->\n\nnew\n\n<!-- /bench:a -->\nmiddle\n<!-- bench:b -->\n\ntoo\n\n<!-- /bench:b -->\nend\n", filled)
	again, err := fill(filled, map[string]string{"a": "new\n", "b": "too\n\n"})
	require.NoError(t, err)
	require.Equal(t, filled, again)
}

func TestAMarkerWithoutItsEndIsAnError(t *testing.T) {
	_, err := fill("<!-- bench:a -->\nold\n", map[string]string{"a": "new"})
	require.ErrorContains(t, err, `no "<!-- /bench:a -->" after it`)
}

func TestBenchmarksAreParsed(t *testing.T) {
	found := parseBenchmarks([]byte("goos: linux\n" +
		"BenchmarkStack/failsafe-go_without_context/parallel-2  \t 10 \t 1859.5 ns/op\t 1480 B/op\t 33 allocs/op\n" +
		"BenchmarkStackPeers/cenkalti/backoff/serial  \t 10 \t 3 ns/op\t 0 B/op\t 0 allocs/op\n"))
	require.Equal(t, map[string]measurement{
		"Stack\tfailsafe-go without context\tparallel": {1859.5, 1480, 33},
		"Stack\tcenkalti/backoff\tserial":              {3, 0, 0},
	}, found)
}

func TestASummaryHasALineForEachSigner(t *testing.T) {
	text := summary([]faults.Result{
		{Scenario: "flaky", Signer: "turret", Asked: 1000, Soon: 1, P99: 140 * time.Millisecond},
		{Scenario: "hung outage", Signer: "turret", Asked: 1200, InTime: 0.5, Stuck: 3},
		{Scenario: "flaky", Signer: "step", Asked: 1000},
	}, []handshakeRow{{Signer: "turret, no quota", Clients: 16, Round: handshake.Round{Rate: 1}}, {Signer: "turret, no quota", Clients: 256, Round: handshake.Round{Rate: 900.4}}})
	require.Regexp(t, `\| turret +\| +100 % \| 140ms \| +0 of 1000 \| +50.0 % \| +3 of 1200 \| +900 \|`, text)
	require.NotContains(t, text, "step", "what was not measured is not shown")
}
