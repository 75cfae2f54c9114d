package main

import (
	"testing"

	"github.com/stretchr/testify/require"
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
