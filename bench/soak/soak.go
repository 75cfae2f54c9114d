package soak

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/stats"
	"github.com/turretgo/turret/signer"
)

// Options say how long a soak is.
type Options struct {
	Signatures int           // asked for, over all stacks
	Rate       float64       // of these a second, at most; in an outage it is less
	Callers    int           // at a time
	Phase      time.Duration // after which the faults are others
}

// Full is the soak of a million: some eleven minutes, in which it computes for
// less than five.
func Full() Options {
	return Options{Signatures: 1_000_000, Rate: 2000, Callers: 512, Phase: 4 * time.Second}
}

// Short is one that meets every phase as well.
func Short() Options {
	return Options{Signatures: 15_000, Rate: 1250, Callers: 512, Phase: time.Second}
}

// Slack is how much later than its patience a call may return, and how many bytes
// more heap there may be at the end. Settling is how long what was cancelled may take
// to be gone.
const (
	slackTime = 5 * time.Second // a machine that is busy holds everybody up; in virtual time, where none is, it is nothing
	slackHeap = 4 << 20
	settling  = 10 * time.Second
)

// soak is one that is under way.
type soak struct {
	Options
	stacks  []*stack
	answers []atomic.Uint32 // to each call, how many
}

// Do soaks the stacks of all designs.
func Do(ctx context.Context, o Options) (*Result, error) { return do(ctx, o, nil) }

// do is Do with a layer on top of each stack.
func do(ctx context.Context, o Options, tamper signer.Layer) (*Result, error) {
	// What is made once in a process, of the SDK's say, is no leak: it is there
	// before the count.
	if _, err := once(ctx, Options{Signatures: 4 * len(designs), Rate: 100, Callers: len(designs), Phase: time.Minute}, nil); err != nil {
		return nil, err
	}
	before := footprint(nil)
	start := time.Now()
	result, err := once(ctx, o, tamper)
	if err != nil {
		return nil, err
	}
	result.Took = time.Since(start)
	result.Before = before
	result.After = footprint(&before)
	return result, nil
}

// once builds the stacks, makes the calls, closes all and collects the counts.
func once(ctx context.Context, o Options, tamper signer.Layer) (_ *Result, err error) {
	s := &soak{Options: o, answers: make([]atomic.Uint32, o.Signatures)}
	defer func() {
		for _, r := range s.stacks {
			err = errors.Join(err, r.signer.Close())
			r.regions[0].server.Close() // and its replica
		}
	}()
	for _, d := range designs {
		r, err := open(ctx, d, tamper)
		if err != nil {
			return nil, err
		}
		s.stacks = append(s.stacks, r)
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s.collect()
}

// load makes the calls, under the weather.
func (s *soak) load(ctx context.Context) error {
	weather, clear := context.WithCancel(ctx)
	var over sync.WaitGroup
	over.Go(func() { s.weather(weather) })
	defer over.Wait()
	defer clear()

	tickets := make(chan int)
	done := make(chan struct{})
	var callers sync.WaitGroup
	for i := range s.Callers {
		r := s.stacks[i%len(s.stacks)]
		callers.Go(func() {
			for n := range tickets {
				r.call(n)
				s.answers[n].Add(1)
			}
		})
	}
	go func() {
		callers.Wait()
		close(done)
	}()
	defer func() { // a caller who never returns is found by its missing answer
		close(tickets)
		within(longest+settling, done)
	}()
	pace := rate.NewLimiter(rate.Limit(s.Rate), 1)
	for n := range s.Signatures {
		if err := pace.Wait(ctx); err != nil {
			return err
		}
		select {
		case tickets <- n:
		case <-time.After(longest + settling):
			return nil // all callers are stuck, and the result will say so
		}
	}
	return nil
}

// within waits for done, for so long at most.
func within(d time.Duration, done <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// call asks for one signature, as a caller who will not wait for ever. Some have a
// deadline, and some go away without a word.
func (s *stack) call(n int) {
	waits := patience()
	ctx, cancel := context.WithCancel(context.Background())
	if n%2 == 0 {
		ctx, cancel = context.WithTimeout(context.Background(), waits)
	} else {
		defer time.AfterFunc(waits, cancel).Stop()
	}
	defer cancel()
	digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))

	begun := time.Now()
	sig, panicked, err := s.sign(ctx, digest[:])
	over := time.Since(begun) - waits
	right := err == nil && panicked == nil && ecdsa.VerifyASN1(s.signer.Public().(*ecdsa.PublicKey), digest[:], sig)

	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.calls
	c.Asked++
	c.Latest = max(c.Latest, over)
	switch {
	case panicked == errMishap:
		c.Panicked++
	case panicked != nil:
		c.note(fmt.Errorf("a panic that nobody meant: %v", panicked))
	case err == nil && right:
		c.Signed++
	case err == nil:
		c.Wrong++
	case refusedAbove(err):
		c.Refused++
	default:
		c.Failed++
		if turret.Outcome(ctx, err) == turret.Permanent {
			c.note(err)
		}
	}
}

// sign returns the panic of a call beside its error.
func (s *stack) sign(ctx context.Context, digest []byte) (sig []byte, panicked any, err error) {
	defer func() { panicked = recover() }()
	sig, err = s.signer.SignContext(ctx, nil, digest, crypto.SHA256)
	return sig, nil, err
}

// refusedAbove reports whether the signer, and not its stack, refused the call, for
// its context had ended already. No service sees these, and no account has them.
func refusedAbove(err error) bool {
	e, ok := err.(*signer.Error)
	return ok && e.Reason == "nothing was signed, for the context had ended before"
}

// entrance counts what comes into the stack.
func (s *stack) entrance() signer.Layer {
	return turret.LayerFunc("entrance", func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
		s.mu.Lock()
		s.calls.Entered++
		s.mu.Unlock()
		return next.Call(ctx, req)
	})
}

// collect closes the signers, waits until what was cancelled is gone, and counts.
func (s *soak) collect() (*Result, error) {
	result := &Result{Options: s.Options}
	for n := range s.answers {
		switch s.answers[n].Load() {
		case 0:
			result.Lost++
		case 1:
		default:
			result.Twice++
		}
	}
	for _, r := range s.stacks {
		if err := r.signer.Close(); err != nil {
			return nil, fmt.Errorf("%s: Close: %w", r.name, err)
		}
		_, err := r.signer.Sign(nil, make([]byte, 32), crypto.SHA256)
		settle(r.quiet)
		result.Stacks = append(result.Stacks, r.account(errors.Is(err, signer.ErrClosed)))
	}
	return result, nil
}

func (s *stack) account(closed bool) Stack {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := s.signer.Stats()
	a := Stack{
		Name:      s.name,
		Calls:     s.calls,
		Stats:     total.Total,
		InFlight:  total.InFlight,
		Panics:    s.mishaps.panicked.Load(),
		Recovered: s.mishaps.recovered.Load(),
		Bare:      !s.design.recovered,
		Swallows:  s.hedged || s.design.regions > 1,
		Closed:    closed,
	}
	keys := make(map[string]stats.Snapshot)
	for _, below := range turret.Inspect(s.signer).Below {
		findKeys(below, keys)
	}
	for _, r := range s.regions {
		snapshot, ok := keys[r.name()]
		if !ok {
			snapshot = keys[""]
		}
		r.probe.mu.Lock()
		a.Keys = append(a.Keys, Key{
			Name:     r.name(),
			Stats:    snapshot.Total,
			InFlight: snapshot.InFlight,
			Attempts: r.probe.attempts,
			Other:    text(r.probe.other),
			Begun:    r.begun.Load(),
			Answered: r.answered.Load(),
			KMS:      r.server.Stats().Op("Sign"),
			Requests: r.server.Stats().Total().Requests,
		})
		r.probe.mu.Unlock()
	}
	return a
}

// findKeys finds the accounts below a node, by replica.
func findKeys(n turret.Node, found map[string]stats.Snapshot) {
	if s, ok := stats.Of(n.Service); ok {
		found[n.Replica] = s
	}
	for _, below := range n.Below {
		findKeys(below, found)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A Footprint is what a process has in use.
type Footprint struct {
	Goroutines int
	Heap       uint64 // bytes, after a collection
}

// footprint measures once things have settled: at once, or when it is back to what
// it was.
func footprint(was *Footprint) Footprint {
	var f Footprint
	settle(func() bool {
		runtime.GC()
		runtime.GC() // what a pool held goes with the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		f = Footprint{runtime.NumGoroutine(), m.HeapAlloc}
		return was == nil || f.Goroutines <= was.Goroutines && f.Heap <= was.Heap+slackHeap
	})
	return f
}

// settle waits until something is so, but not for ever.
func settle(so func() bool) {
	for end := time.Now().Add(settling); !so() && time.Now().Before(end); {
		<-time.After(50 * time.Millisecond)
	}
}
