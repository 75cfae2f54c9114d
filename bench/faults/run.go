package faults

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/turretgo/turret/signer/kmstest"
)

// Sign makes a signature of a digest. A signer that takes no context ignores ctx.
type Sign func(ctx context.Context, digest []byte) ([]byte, error)

// KMS is the server behind the signer.
type KMS interface {
	Inject(Scenario, int) error // the faults of a scenario's phase
	Stats() (kmstest.Counts, error)
}

// A Call is one signature that was asked for.
type Call struct {
	At     time.Duration // since the run began
	Took   time.Duration // until it was answered; 0 if it never was
	Signed bool          // and the signature is right
	Wrong  bool          // it is not
	Err    string        `json:",omitempty"`
}

// A Run is a scenario, carried out on a signer.
type Run struct {
	Scenario   string
	Signer     string
	Calls      []Call
	KMS        kmstest.Counts // the Sign requests of the whole run
	InOutage   kmstest.Counts // and those of the outage
	Outage     [2]time.Duration
	Patience   time.Duration
	Goroutines int // that were left behind, other than those of connections

	drained <-chan struct{}
}

// Wait waits until the calls that Do left behind have returned as well. Without an
// end to what they wait for, which closing the KMS is, that may be never.
func (r *Run) Wait() { <-r.drained }

// Do carries a scenario out. It returns once every call has, or when each had time
// enough; those that have not returned by then never will, as far as the run is
// concerned, and are left behind.
func (s Scenario) Do(ctx context.Context, name string, kms KMS, pub *ecdsa.PublicKey, sign Sign) (*Run, error) {
	d := &driver{Scenario: s, kms: kms, pub: pub, sign: sign, start: time.Now()}
	run := &Run{Scenario: s.Name, Signer: name, Patience: s.Patience}
	goroutines := countGoroutines()
	before, err := kms.Stats()
	if err != nil {
		return nil, err
	}
	for i := range s.Phases {
		if err := d.phase(ctx, run, i); err != nil {
			return nil, err
		}
	}
	run.drained = d.drain(ctx)
	after, err := kms.Stats()
	if err != nil {
		return nil, err
	}
	run.KMS = less(after, before)
	run.Goroutines = leftBehind(goroutines)
	run.Calls = d.snapshot()
	return run, ctx.Err()
}

// driver drives the load.
type driver struct {
	Scenario
	kms   KMS
	pub   *ecdsa.PublicKey
	sign  Sign
	start time.Time
	under sync.WaitGroup

	mu    sync.Mutex
	calls []*Call
}

// phase asks for the signatures of one phase.
func (d *driver) phase(ctx context.Context, run *Run, i int) error {
	p := d.Phases[i]
	if err := d.kms.Inject(d.Scenario, i); err != nil {
		return err
	}
	before, err := d.kms.Stats()
	if err != nil {
		return err
	}
	begin := time.Now()
	for _, at := range d.arrivals(p) {
		if !sleepUntil(ctx, begin.Add(at)) {
			return ctx.Err()
		}
		d.ask(begin.Add(at))
	}
	if !sleepUntil(ctx, begin.Add(p.For)) {
		return ctx.Err()
	}
	if !p.Outage {
		return nil
	}
	after, err := d.kms.Stats()
	run.InOutage = less(after, before)
	run.Outage = [2]time.Duration{begin.Sub(d.start), time.Since(d.start)}
	return err
}

// ask asks for a signature that is due now. Its time runs from when it was due,
// so that a late schedule is not the signer's gain.
func (d *driver) ask(due time.Time) {
	call := &Call{At: due.Sub(d.start)}
	d.mu.Lock()
	d.calls = append(d.calls, call)
	digest := digestOf(len(d.calls))
	d.mu.Unlock()
	d.under.Go(func() {
		ctx, cancel := context.WithDeadline(context.Background(), due.Add(d.Patience))
		defer cancel()
		sig, err := d.sign(ctx, digest)
		took := max(1, time.Since(due))
		right := err == nil && ecdsa.VerifyASN1(d.pub, digest, sig)
		d.mu.Lock()
		defer d.mu.Unlock()
		call.Took, call.Signed, call.Wrong = took, right, err == nil && !right
		if err != nil {
			call.Err = err.Error()
		}
	})
}

// drain waits for the calls under way, until no deadline can explain them. What it
// returns is closed once they all have returned.
func (d *driver) drain(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		d.under.Wait()
		close(done)
	}()
	timer := time.NewTimer(d.Patience + time.Second)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
	return done
}

func (d *driver) snapshot() []Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := make([]Call, len(d.calls))
	for i, c := range d.calls {
		calls[i] = *c
	}
	return calls
}

func digestOf(n int) []byte {
	digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	return digest[:]
}

// sleepUntil waits for t, and reports whether it came.
func sleepUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func less(a, b kmstest.Counts) kmstest.Counts {
	return kmstest.Counts{
		Requests:    a.Requests - b.Requests,
		OK:          a.OK - b.OK,
		Corrupt:     a.Corrupt - b.Corrupt,
		Refused:     a.Refused - b.Refused,
		Throttled:   a.Throttled - b.Throttled,
		Internal:    a.Internal - b.Internal,
		Unavailable: a.Unavailable - b.Unavailable,
		Reset:       a.Reset - b.Reset,
		Hung:        a.Hung - b.Hung,
		Canceled:    a.Canceled - b.Canceled,
		InFlight:    a.InFlight - b.InFlight,
	}
}

// leftBehind is how many goroutines there are more than before, once those that
// are about to end have. Those are few, where there are any, and the count of many
// takes seconds.
func leftBehind(before int) int {
	left := 0
	for range 20 {
		if left = countGoroutines() - before; left <= 0 {
			return 0
		}
		if left > 10 {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	return left
}

// countGoroutines counts the goroutines that neither are an HTTP connection's, for
// those are kept on purpose, nor the drain's own.
func countGoroutines() int {
	stacks := make([]byte, 1<<20)
	n := runtime.Stack(stacks, true)
	for n == len(stacks) {
		stacks = make([]byte, 2*len(stacks))
		n = runtime.Stack(stacks, true)
	}
	count := 0
	for stack := range bytes.SplitSeq(stacks[:n], []byte("\n\n")) {
		if !slices.ContainsFunc(uncounted, func(part string) bool { return bytes.Contains(stack, []byte(part)) }) {
			count++
		}
	}
	return count
}

var uncounted = []string{
	"created by net/http.(*Transport).dialConn",
	"created by net/http.(*Server).Serve", // in a bubble, which the KMS shares
	"created by net/http.(*connReader).startBackgroundRead",
	"faults.(*driver).drain",
}
