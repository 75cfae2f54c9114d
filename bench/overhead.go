package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/turretgo/turret/bench/plot"
	"github.com/turretgo/turret/bench/table"
)

// overheadRow is what a call costs through one contender's layers, the median of
// all rounds.
type overheadRow struct {
	What, Contender        string
	Serial, Parallel       float64 // ns a call
	SerialRatio, ParaRatio float64 // turret's time to this one's
	Bytes, Allocs          float64
}

// runOverhead runs package overhead's benchmarks, all of them once a round, so that
// those to be compared have run within seconds of each other.
func runOverhead(ctx context.Context, o options) (*section, error) {
	rounds, benchtime := 7, 100*time.Millisecond
	if o.short {
		rounds, benchtime = 1, 2*time.Millisecond
	}
	if _, err := os.Stat("overhead"); errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is no folder overhead here; run it in the folder bench")
	}
	dir, err := os.MkdirTemp("", "turret-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "overhead.test")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./overhead").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the benchmarks: %w\n%s", err, out)
	}
	var found []map[string]measurement
	for range rounds {
		out, err := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.bench=.", "-test.benchtime="+benchtime.String()).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("running the benchmarks: %w\n%s", err, out)
		}
		found = append(found, parseBenchmarks(out))
	}
	rows := overheadRows(found)
	return &section{name: "overhead", tables: append(overheadTables(rows), overheadGoals(rows)), data: rows, plots: overheadPlots(rows)}, nil
}

type measurement struct{ ns, bytes, allocs float64 }

var benchmarkLine = regexp.MustCompile(`^Benchmark(\w+?)(?:Peers)?/(.+)/(serial|parallel)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op\s+([\d.]+) B/op\s+([\d.]+) allocs/op`)

// parseBenchmarks reads what go test prints. The key is the benchmark's name.
func parseBenchmarks(out []byte) map[string]measurement {
	found := make(map[string]measurement)
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		m := benchmarkLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		var v [3]float64
		for i := range v {
			v[i], _ = strconv.ParseFloat(m[4+i], 64)
		}
		found[strings.Join([]string{m[1], strings.ReplaceAll(m[2], "_", " "), m[3]}, "\t")] = measurement{v[0], v[1], v[2]}
	}
	return found
}

// overheadWhats are the benchmarks, in the tables' order.
var overheadWhats = []struct{ name, title string }{
	{"Stack", "The stack of four: timeout, retry, rate limit, breaker"},
	{"StackByContext", "The same, around a service that asks for its context's Done"},
	{"Timeout", "Timeout"},
	{"Retry", "Retry"},
	{"RateLimit", "Rate limit"},
	{"Breaker", "Breaker"},
}

func overheadRows(rounds []map[string]measurement) []overheadRow {
	var rows []overheadRow
	for _, what := range overheadWhats {
		var contenders []string
		for name := range rounds[0] {
			if parts := strings.Split(name, "\t"); parts[0] == what.name && parts[2] == "serial" {
				contenders = append(contenders, parts[1])
			}
		}
		slices.SortFunc(contenders, func(a, b string) int { return strings.Compare(rank(a), rank(b)) })
		for _, c := range contenders {
			medianOf := func(how string, value func(m, turret measurement) float64) float64 {
				var values []float64
				for _, r := range rounds {
					values = append(values, value(r[what.name+"\t"+c+"\t"+how], r[what.name+"\tturret\t"+how]))
				}
				slices.Sort(values)
				return values[len(values)/2]
			}
			ns := func(m, _ measurement) float64 { return m.ns }
			ratio := func(m, turret measurement) float64 { return turret.ns / max(m.ns, 0.01) }
			rows = append(rows, overheadRow{
				What: what.name, Contender: c,
				Serial: medianOf("serial", ns), Parallel: medianOf("parallel", ns),
				SerialRatio: medianOf("serial", ratio), ParaRatio: medianOf("parallel", ratio),
				Bytes:  medianOf("serial", func(m, _ measurement) float64 { return m.bytes }),
				Allocs: medianOf("serial", func(m, _ measurement) float64 { return m.allocs }),
			})
		}
	}
	return rows
}

// rank puts turret first and what is written by hand last.
func rank(contender string) string {
	switch {
	case contender == "turret":
		return "0"
	case contender == "by hand":
		return "2"
	case strings.HasSuffix(contender, " alone"):
		return "3"
	}
	return "1" + contender
}

func overheadTables(rows []overheadRow) []table.Table {
	var tables []table.Table
	for _, what := range overheadWhats {
		t := table.Table{
			Title: "### " + what.title,
			Head:  []string{"", "ns a call", "turret to it", "ns, parallel", "turret to it", "bytes", "allocations"},
		}
		for _, r := range rows {
			if r.What == what.name {
				t.Add(r.Contender, fmt.Sprintf("%.0f", r.Serial), fmt.Sprintf("%.2f", r.SerialRatio),
					fmt.Sprintf("%.0f", r.Parallel), fmt.Sprintf("%.2f", r.ParaRatio), fmt.Sprintf("%.0f", r.Bytes), fmt.Sprintf("%.0f", r.Allocs))
			}
		}
		tables = append(tables, t)
	}
	return tables
}

func overheadPlots(rows []overheadRow) map[string][]byte {
	var bars []plot.Bar
	for _, r := range rows {
		if r.What == "Stack" {
			bars = append(bars, plot.Bar{Name: r.Contender, Value: r.Serial, Label: fmt.Sprintf("%.0f ns", r.Serial)})
		}
	}
	return map[string][]byte{"overhead.svg": plot.Bars("A call through timeout, retry, rate limit and breaker", bars)}
}
