// Package failover calls the replicas of a service in order of preference: the
// first, its home, and the next ones when those before it fail.
//
// A replica is failed over for errors of class Transient, Unknown, Throttled and
// Rejected. A Permanent error is an answer and ends the call, and Canceled means
// that nobody waits for one any more. Where an ailing home is followed by a
// replica whose answer is Permanent, the error's class is still home's: it may
// know better when it is well. A home that is away, as below, has no say.
//
// # An ailing home
//
// A home that hangs costs each call an attempt timeout before the next replica
// is asked. Two things keep that to the first few calls.
//
// A breaker in each replica's own stack, below the failover, refuses at once
// while it is open. Every call still begins at home, and so returns there as soon
// as home is well; but each of the breaker's own probes is a call that waits.
//
//	retry → failover → (rate limit → breaker → timeout → replica) × n
//
// Where requests may be made twice, [Options].Failures does without: after so
// many failures in a row a replica is away, and calls begin at the next one. What
// probes it is a copy of a call, made beside it, that nobody waits for.
package failover

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/internal/beside"
)

// Never is the Options.Failures with which every call begins at home.
const Never = -1

// Options configure a failover. The zero Options are ready to use.
type Options struct {
	// Names are the replicas' names, in their order, for errors and hooks. A
	// replica without one is called "replica 1", and so on.
	Names []string

	// Failures is after how many failures in a row (Transient, Unknown or
	// Throttled) a replica is away: calls ask it only when all others have
	// failed. A call whose deadline ended it there, or that a hedge outran, counts
	// as one here. 0 means Never.
	//
	// To find out when it is well, the request of a call is sent to it as well,
	// one at a time, in a goroutine that ends with Close, and what it answers is
	// dropped: for requests that may be made twice, and that nobody changes after
	// the call. A success brings it back. A timeout belongs below, well below the
	// callers' own, or a home that hangs leaves the next replica no time. A probe
	// is given up after 30 s.
	Failures int

	// ProbeInterval is the time between the probes of a replica that is away.
	// None are made of one that is not ready ([turret.Ready]), because its breaker
	// is open, say, nor while there are no calls. 0 means 1 s.
	ProbeInterval time.Duration

	// OnFailover, if set, is called when a replica failed and another is about to
	// be called, in the caller's goroutine.
	OnFailover func(ctx context.Context, e Event)

	// OnChange, if set, is told of replicas that go away and come back, by the
	// call or the probe that brought it about, outside of all locks. It may call
	// through the service, and must not close it: Close waits for probes.
	OnChange func(Change)
}

// Event is a failover about to happen.
type Event struct {
	From, To string       // names of the replicas
	Err      error        // what From said
	Class    turret.Class // what it means
}

// Change is a replica's going away or coming back.
type Change struct {
	Name string
	Away bool
	Err  error // the failure that was one too many; nil if it is back
}

// Validate says what is wrong with o, if anything is.
func (o Options) Validate() error {
	for i, name := range o.Names {
		if name != "" && slices.Contains(o.Names[:i], name) {
			return fmt.Errorf("failover: two of the Names are %q; they must differ", name)
		}
	}
	switch {
	case o.Failures < Never:
		return fmt.Errorf("failover: Failures is %d; it must be at least 1, or Never", o.Failures)
	case o.ProbeInterval < 0:
		return fmt.Errorf("failover: ProbeInterval is %v; it must be above zero, or 0 for the default of 1s", o.ProbeInterval)
	}
	return nil
}

// New returns a service that calls replicas in order of preference, home first.
// With one replica it is that replica. It panics when there is none, or a nil
// one, or two have the same name, and with Validate's error if o is invalid.
//
// When a replica after the first ends the call, its error is an [*Error] with
// those before it; the first one's own comes back unchanged if it is final.
//
// What is known of the replicas is the service's own. [turret.Close] ends the
// probes under way, and returns when they have; calls may go on.
func New[Req, Resp any](o Options, replicas ...turret.Service[Req, Resp]) turret.Service[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	if len(replicas) == 0 || slices.ContainsFunc(replicas, func(s turret.Service[Req, Resp]) bool { return s == nil }) {
		panic(fmt.Sprintf("failover: New needs at least one replica and no nil ones; it was given %d", len(replicas)))
	}
	if len(replicas) == 1 {
		return replicas[0]
	}
	if o.ProbeInterval == 0 {
		o.ProbeInterval = time.Second
	}
	s := &service[Req, Resp]{options: o}
	for i, r := range replicas {
		name := name(o.Names, i)
		if slices.ContainsFunc(s.replicas, func(r *replica[Req, Resp]) bool { return r.name == name }) {
			panic(fmt.Sprintf("failover: New was given two replicas named %q; Options.Names must differ", name))
		}
		s.replicas = append(s.replicas, &replica[Req, Resp]{Service: r, name: name})
		s.below = append(s.below, turret.Named(name, r))
	}
	return s
}

func name(names []string, i int) string {
	if i < len(names) && names[i] != "" {
		return names[i]
	}
	return fmt.Sprintf("replica %d", i+1)
}

type service[Req, Resp any] struct {
	options  Options
	replicas []*replica[Req, Resp]
	below    []any
	probes   beside.Calls
}

// replica is one of several, and how it is.
type replica[Req, Resp any] struct {
	turret.Service[Req, Resp]
	name string
	health
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	var failed []ReplicaError
	var asked turns
	for r := s.next(ctx, req, &asked); r != nil; {
		var class turret.Class
		if resp, class, err = s.ask(ctx, r, req, !asked.late); err == nil {
			return resp, nil
		}
		failed = append(failed, ReplicaError{r.name, err, class})
		if class == turret.Permanent || class == turret.Canceled || ctx.Err() != nil {
			break
		}
		from := r
		if r = s.next(ctx, req, &asked); r != nil {
			s.tell(ctx, Event{from.name, r.name, err, class})
		}
	}
	return resp, failure(failed)
}

// tell tells OnFailover and the call's observers of a failover.
func (s *service[Req, Resp]) tell(ctx context.Context, e Event) {
	if s.options.OnFailover != nil {
		s.options.OnFailover(ctx, e)
	}
	turret.Report(ctx, turret.Event{Layer: "failover", Kind: turret.EventNext, Err: e.Err, From: e.From, To: e.To})
}

// ask calls a replica, and learns how it is. Where the call is not in time, for it
// is a hedge or came when its context had ended, its end says nothing of the replica.
func (s *service[Req, Resp]) ask(ctx context.Context, r *replica[Req, Resp], req Req, inTime bool) (Resp, turret.Class, error) {
	inTime = inTime && ctx.Err() == nil
	term := s.term(r)
	resp, err := r.Call(ctx, req)
	class := turret.Outcome(ctx, err)
	s.learn(ctx, r, term, newsOf(ctx, class, err, inTime), err)
	return resp, class, err
}

// turns is how far a call has come.
type turns struct {
	next   int   // replica, in order of preference
	passed []int // those that are away
	late   bool  // a rival asked a replica before
}

// next returns the next replica for a call, or nil: in order of preference, and
// those that are away last. It passes by one that a rival of the call has, for a
// hedge above must not send two calls of one request to the same one.
func (s *service[Req, Resp]) next(ctx context.Context, req Req, t *turns) *replica[Req, Resp] {
	for t.next < len(s.replicas) {
		i := t.next
		t.next++
		switch r := s.replicas[i]; {
		case s.isAway(r):
			t.passed = append(t.passed, i)
			s.probe(ctx, r, req)
		case turret.Claim(ctx, r):
			return r
		default:
			t.late = true
		}
	}
	for len(t.passed) > 0 {
		r := s.replicas[t.passed[0]]
		t.passed = t.passed[1:]
		if turret.Claim(ctx, r) {
			return r
		}
		t.late = true
	}
	return nil
}

// Close ends the probes under way.
func (s *service[Req, Resp]) Close() error {
	s.probes.Close()
	return nil
}

func (s *service[Req, Resp]) String() string {
	var names []string
	for _, r := range s.replicas {
		names = append(names, r.name)
	}
	return "failover " + strings.Join(names, ", ")
}

func (s *service[Req, Resp]) Unwrap() []any { return s.below }
