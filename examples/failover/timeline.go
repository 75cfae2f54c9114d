package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// lineLength is how much time a line of the timeline tells of.
const lineLength = 500 * time.Millisecond

// timeline counts who signed, and prints a line for each half of a second.
type timeline struct {
	w      io.Writer
	events []event
	length time.Duration
	start  time.Time
	calls  sync.WaitGroup
	stop   context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	by      map[string]int // signatures by Region, in this line
	slowest time.Duration
	total   int
	lost    []error
}

func newTimeline(w io.Writer, events []event) *timeline {
	t := &timeline{w: w, events: events, by: make(map[string]int), ended: make(chan struct{})}
	for _, e := range events {
		t.length += e.length
	}
	return t
}

// layer sees which Region signed.
func (t *timeline) layer() signer.Layer {
	return turret.LayerFunc("timeline", func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
		resp, err := next.Call(ctx, req)
		if key, parseErr := arn.Parse(resp.KeyID); err == nil && parseErr == nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.by[key.Region]++
		}
		return resp, err
	})
}

// signed notes how a signature ended.
func (t *timeline) signed(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total++
	t.slowest = max(t.slowest, took)
	if err != nil {
		t.lost = append(t.lost, err)
	}
}

// begin starts printing.
func (t *timeline) begin() {
	var ctx context.Context
	ctx, t.stop = context.WithCancel(context.Background())
	t.start = time.Now()
	fmt.Fprintf(t.w, "%6s  %-10s %8s   %s\n", "time", "home is", "slowest", "signed by")
	go func() {
		defer close(t.ended)
		ticker := time.NewTicker(lineLength)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				t.print()
			case <-ctx.Done():
				return
			}
		}
	}()
}

// end stops printing.
func (t *timeline) end() {
	t.stop()
	<-t.ended
}

func (t *timeline) print() {
	t.mu.Lock()
	defer t.mu.Unlock()
	var by []string
	for region, n := range t.by {
		by = append(by, fmt.Sprintf("%s %s", region, strings.Repeat("▪", n)))
	}
	if len(by) == 0 {
		by = []string{"nobody"}
	}
	slices.Sort(by)
	now := time.Since(t.start)
	fmt.Fprintf(t.w, "%5.1fs  %-10s %8s   %s\n", now.Seconds(), t.state(now-lineLength), t.slowest.Round(time.Millisecond), strings.Join(by, "  "))
	clear(t.by)
	t.slowest = 0
}

// state is what home was at a time.
func (t *timeline) state(at time.Duration) string {
	for _, e := range t.events {
		if at < e.length {
			return e.state
		}
		at -= e.length
	}
	return t.events[len(t.events)-1].state
}

// verdict is the first error, if there was one.
func (t *timeline) verdict() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lost) > 0 {
		return fmt.Errorf("%d of %d signatures were lost; the first: %w", len(t.lost), t.total, t.lost[0])
	}
	fmt.Fprintf(t.w, "\n%d signatures, none lost\n", t.total)
	return nil
}
