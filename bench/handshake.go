package main

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/turretgo/turret/bench/handshake"
	"github.com/turretgo/turret/bench/kmsproc"
	"github.com/turretgo/turret/bench/plot"
	"github.com/turretgo/turret/bench/signers"
	"github.com/turretgo/turret/bench/table"
)

const (
	handshakeChild = "handshake-one"
	kmsLatency     = 20 * time.Millisecond

	inMemory     = "key in memory"
	inMemorySlow = "key in memory, 20 ms"
)

// A handshakeRow is a contender's medians under one load.
type handshakeRow struct {
	Signer  string
	Clients int
	handshake.Round
	OfLimit float64 // share of the rate of a key in memory that takes as long as KMS
	Rounds  []handshake.Round
}

func (r handshakeRow) dialsASignature() float64 {
	return float64(r.Dials) / float64(max(1, r.Signatures))
}

// runHandshake measures all contenders in turn, round after round, so that what the
// machine does besides befalls all alike.
func runHandshake(ctx context.Context, o options) (_ *section, err error) {
	kms, err := kmsproc.Start(ctx, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kms.Close()) }()
	if err := kms.Latency(kmsLatency); err != nil {
		return nil, err
	}
	names := []string{"plain SDK", "step", "sigstore", signers.Unlimited.Name, signers.Borrowed.Name, inMemorySlow, inMemory}
	rounds, load := 6, handshake.Load{Warm: 500 * time.Millisecond, For: 2 * time.Second}
	if o.short {
		names = []string{"plain SDK", signers.Unlimited.Name, inMemorySlow}
		rounds, load.Warm, load.For = 1, 250*time.Millisecond, 500*time.Millisecond
	}
	children := make([]*child, len(names))
	for i, name := range names {
		if children[i], err = startChild(ctx, kms, handshakeChild, name); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, children[i].close()) }()
	}
	var rows []handshakeRow
	for _, load.Clients = range []int{16, 256} {
		found := make([][]handshake.Round, len(names))
		for round := range rounds + 1 {
			for i, c := range children {
				var r handshake.Round
				if err := c.do(load, &r); err != nil {
					return nil, err
				}
				if round > 0 { // the first one opens connections
					found[i] = append(found[i], r)
				}
			}
		}
		rows = append(rows, handshakeRows(names, load.Clients, found)...)
		fmt.Fprintf(os.Stderr, "handshake: %d clients done\n", load.Clients)
	}
	return &section{name: "handshake", tables: append(handshakeTables(rows), handshakeGoals(rows)), data: rows, plots: handshakePlots(rows)}, nil
}

func handshakeRows(names []string, clients int, found [][]handshake.Round) []handshakeRow {
	var rows []handshakeRow
	for i, name := range names {
		rows = append(rows, handshakeRow{Signer: name, Clients: clients, Round: median(found[i]), Rounds: found[i]})
	}
	limit := rows[slices.Index(names, inMemorySlow)].Rate
	for i := range rows {
		rows[i].OfLimit = rows[i].Rate / max(1, limit)
	}
	return rows
}

// median is the round whose rate is the median.
func median(rounds []handshake.Round) handshake.Round {
	sorted := slices.SortedFunc(slices.Values(rounds), func(a, b handshake.Round) int { return cmp.Compare(a.Rate, b.Rate) })
	m := sorted[len(sorted)/2]
	for _, r := range rounds {
		if r.Failed > 0 && m.Failed == 0 {
			m.Failed, m.FirstFailure = r.Failed, r.FirstFailure // never hidden
		}
	}
	return m
}

func handshakeTables(rows []handshakeRow) []table.Table {
	var tables []table.Table
	for _, clients := range []int{16, 256} {
		t := table.Table{
			Title: fmt.Sprintf("### %d clients", clients),
			Head:  []string{"key", "handshakes a second", "of the limit", "p50", "p99", "CPU a handshake", "dials a signature", "failed"},
		}
		for _, r := range rows {
			if r.Clients != clients {
				continue
			}
			dials := "–"
			if r.Signatures > 0 {
				dials = fmt.Sprintf("%.3f", r.dialsASignature())
			}
			t.Add(r.Signer, fmt.Sprintf("%.0f", r.Rate), fmt.Sprintf("%.2f", r.OfLimit), table.Duration(r.P50), table.Duration(r.P99),
				table.Duration(r.CPU), dials, fmt.Sprint(r.Failed))
		}
		tables = append(tables, t)
	}
	return tables
}

func handshakePlots(rows []handshakeRow) map[string][]byte {
	var bars []plot.Bar
	for _, r := range rows {
		if r.Clients == 256 && r.Signer != inMemory {
			bars = append(bars, plot.Bar{Name: r.Signer, Value: r.Rate, Label: fmt.Sprintf("%.0f", r.Rate)})
		}
	}
	return map[string][]byte{"handshakes.svg": plot.Bars("TLS 1.3 handshakes a second, 256 clients, KMS latency 20 ms", bars)}
}

// oneHandshake is the process of one contender.
func oneHandshake(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes a signer", handshakeChild)
	}
	kms, err := kmsproc.FromEnv()
	if err != nil {
		return err
	}
	key, err := handshakeKey(ctx, args[0], kms.KeyID)
	if err != nil {
		return err
	}
	server, err := handshake.NewServer(key)
	if err != nil {
		return err
	}
	defer server.Close()
	return answer(stdin, stdout, func(l handshake.Load) (handshake.Round, error) { return server.Do(ctx, l, kms.AllStats) })
}

func handshakeKey(ctx context.Context, name, keyID string) (crypto.Signer, error) {
	switch name {
	case inMemory:
		return handshake.Memory(0)
	case inMemorySlow:
		return handshake.Memory(kmsLatency)
	}
	c, err := signers.Find(name)
	if err != nil {
		return nil, err
	}
	s, err := c.Open(ctx, signers.Target{KeyID: keyID})
	if err != nil {
		return nil, err
	}
	return s.Signer, nil
}
