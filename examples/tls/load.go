package main

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// patience is how long a client waits for its handshake.
const patience = 5 * time.Second

// row is one run of the load, and a line of the table.
type row struct {
	name      string
	key       crypto.Signer
	latencies []time.Duration // of the handshakes that worked, sorted
	failed    int             // wrong ones among them
	wrong     int
	err       error // of the first that failed
	kmsCalls  int   // 0 for a KMS of somebody else's
}

// measure drives the load at a server with the row's key.
func (r *row) measure(ctx context.Context, o options, stderr io.Writer) error {
	s, err := startServer("127.0.0.1:0", r.key)
	if err != nil {
		return err
	}
	client := &tls.Dialer{Config: &tls.Config{RootCAs: s.ca.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS13}}

	err = r.drive(ctx, load{o.clients, o.handshakes, patience}, stderr, func(ctx context.Context) error {
		conn, err := client.DialContext(ctx, "tcp", s.addr.String())
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return errors.Join(err, s.close())
}

// load is how many clients perform how many handshakes between them, and how
// long a client waits for one.
type load struct {
	clients, handshakes int
	patience            time.Duration
}

// drive performs a load of handshakes and records how each went.
func (r *row) drive(ctx context.Context, l load, stderr io.Writer, handshake func(context.Context) error) error {
	var next atomic.Int64
	var mu sync.Mutex
	var clients sync.WaitGroup
	bar := newBar(stderr, r.name, l.handshakes)
	for range l.clients {
		clients.Go(func() {
			for next.Add(1) <= int64(l.handshakes) && ctx.Err() == nil {
				latency, err := timed(ctx, l.patience, handshake)
				mu.Lock()
				r.record(latency, err)
				bar.step()
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	bar.finish()
	slices.Sort(r.latencies)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	return nil
}

func timed(ctx context.Context, limit time.Duration, handshake func(context.Context) error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	err := handshake(ctx)
	return time.Since(start), err
}

func (r *row) record(latency time.Duration, err error) {
	if err == nil {
		r.latencies = append(r.latencies, latency)
		return
	}
	if r.err == nil {
		r.err = err
	}
	r.failed++
	if strings.Contains(err.Error(), "invalid signature") {
		r.wrong++
	}
}

// quantile is the latency that a share q of the handshakes that worked had.
func (r *row) quantile(q float64) string {
	if len(r.latencies) == 0 {
		return "–"
	}
	return r.latencies[int(q*float64(len(r.latencies)-1))].Round(time.Millisecond).String()
}

func printTable(w io.Writer, rows []row) {
	printRows(w, "signer", rows)
	fmt.Fprintf(w, "\nLatencies are those of the handshakes that worked. A client gives up after %v.\n", patience)
}

func printRows(w io.Writer, title string, rows []row) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, title+"\thandshakes\tfailed\twrong signatures\tp50\tp99\tlongest\tKMS calls a handshake\t")
	for _, r := range rows {
		n := len(r.latencies) + r.failed
		calls := "–"
		if r.kmsCalls > 0 {
			calls = fmt.Sprintf("%.2f", float64(r.kmsCalls)/float64(n))
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", r.name, n, r.failed, r.wrong, r.quantile(0.5), r.quantile(0.99), r.quantile(1), calls)
	}
	_ = t.Flush()
}

// bar is a progress bar, on a terminal only.
type bar struct {
	w           io.Writer
	name        string
	done, total int
}

func newBar(w io.Writer, name string, total int) *bar {
	f, ok := w.(*os.File)
	if !ok {
		return &bar{w: io.Discard, name: name, total: total}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		w = io.Discard
	}
	return &bar{w: w, name: name, total: total}
}

func (b *bar) step() {
	b.done++
	if b.done%max(1, b.total/200) == 0 || b.done == b.total {
		const width = 40
		filled := width * b.done / b.total
		fmt.Fprintf(b.w, "\r%-18s [%s%s] %d", b.name, strings.Repeat("#", filled), strings.Repeat(".", width-filled), b.done)
	}
}

func (b *bar) finish() { fmt.Fprint(b.w, "\r\x1b[K") }
