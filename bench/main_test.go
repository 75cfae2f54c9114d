package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/bench/faults"
	"github.com/turretgo/turret/bench/kmsproc"
	"github.com/turretgo/turret/bench/soak"
	"github.com/turretgo/turret/bench/table"
)

// TestMain is the program itself where a benchmark runs it once more.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case kmsproc.Arg, faultsChild, handshakeChild, signChild:
			main()
			return
		}
	}
	os.Exit(m.Run())
}

// short runs a benchmark short and returns what it printed, and its JSON.
func short(t *testing.T, name string, args ...string) (tables string, results []byte) {
	t.Helper()
	folder := t.TempDir()
	var out strings.Builder
	require.NoError(t, run(t.Context(), append([]string{name, "-short", "-out", folder}, args...), strings.NewReader(""), &out))
	results, err := os.ReadFile(filepath.Join(folder, name+".json"))
	require.NoError(t, err)
	return out.String(), results
}

func TestFaultsAcrossProcesses(t *testing.T) {
	tables, text := short(t, "faults", "-only", "flaky")
	var results []faults.Result
	require.NoError(t, json.Unmarshal(text, &results))
	require.Len(t, results, 2)
	for i, name := range []string{"plain SDK", "turret"} {
		r := results[i]
		require.Equal(t, name, r.Signer)
		require.Equal(t, 200, r.Asked)
		require.Greater(t, r.Soon, 0.9)
		require.Greater(t, r.Calls, 1.0, "some have failed and were retried")
		require.Contains(t, tables, "| "+name)
	}
	require.NotZero(t, results[0].Wrong)
	require.Zero(t, results[1].Wrong)
	require.Equal(t, 1.0, results[1].InTime)
}

func TestHandshakesWithAKMSBehindTLS(t *testing.T) {
	_, text := short(t, "handshake")
	var rows []handshakeRow
	require.NoError(t, json.Unmarshal(text, &rows))
	require.Len(t, rows, 6)
	for _, r := range rows {
		require.Zero(t, r.Failed, r.FirstFailure)
		if r.Clients > 16 {
			continue // a busy machine may complete none in so short a round
		}
		require.NotZero(t, r.Done, r.Signer)
		require.GreaterOrEqual(t, r.P50, kmsLatency)
		require.Equal(t, r.Signer == inMemorySlow, r.Signatures == 0, r.Signer)
	}
}

func TestSignComparesCosts(t *testing.T) {
	_, text := short(t, "sign")
	require.Equal(t, len(signPairs), strings.Count(string(text), `"CPURatio"`))
	require.Contains(t, string(text), `"Baseline": "plain SDK, verifying"`)
}

func TestScaleAndOverhead(t *testing.T) {
	for _, name := range []string{"scale", "overhead"} {
		tables, _ := short(t, name)
		require.NotEmpty(t, tables)
		require.NotContains(t, tables, "NaN")
	}
}

func TestSoakPrintsItsVerdict(t *testing.T) {
	tables, text := short(t, "soak", "-n", "1500")
	require.NotContains(t, tables, "**no**")
	var result soak.Result
	require.NoError(t, json.Unmarshal(text, &result))
	require.True(t, result.Sound())
	require.Len(t, result.Stacks, 4)
}

func TestWhatIsBrokenIsPrintedAndFails(t *testing.T) {
	commands["broken"] = func(context.Context, options) (*section, error) {
		return &section{name: "broken", tables: []table.Table{{Head: []string{"shown"}}}, failed: errors.New("not so")}, nil
	}
	t.Cleanup(func() { delete(commands, "broken") })
	var out strings.Builder
	err := run(t.Context(), []string{"broken", "-out", t.TempDir()}, strings.NewReader(""), &out)
	require.EqualError(t, err, "not so")
	require.Contains(t, out.String(), "| shown |")
}

func TestMistakesAreNamed(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{nil, "which benchmark?"},
		{[]string{"speed"}, `there is no benchmark "speed"`},
		{[]string{"sign", "extra"}, `"extra" is no flag`},
		{[]string{"soak", "-n", "-1"}, "-n is -1"},
		{[]string{"faults", "-only", "rain"}, `there is no scenario "rain"`},
	} {
		err := run(t.Context(), tc.args, strings.NewReader(""), &strings.Builder{})
		require.ErrorContains(t, err, tc.want, fmt.Sprint(tc.args))
	}
}
