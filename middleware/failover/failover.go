// Package failover calls the replicas of a service in order of preference: the
// first, its home, and the next ones when those before it fail.
//
// Every call begins at home, so calls return there as soon as home is well. What
// keeps an ailing home from costing each call an attempt timeout is a breaker in
// each replica's own stack, below the failover: an open one refuses at once.
//
//	retry → failover → (rate limit → breaker → timeout → replica) × n
//
// A replica is failed over for errors of class Transient, Unknown, Throttled and
// Rejected. A Permanent error is an answer and ends the call, and Canceled means
// that nobody waits for one any more. Where an ailing home is followed by a
// replica whose answer is Permanent, the error's class is still home's: it may
// know better when it is well.
package failover

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/turretgo/turret"
)

// Options configure a failover. The zero Options are ready to use.
type Options struct {
	// Names are the replicas' names, in their order, for errors and hooks. A
	// replica without one is called "replica 1", and so on.
	Names []string

	// OnFailover, if set, is called when a replica failed and another is about to
	// be called, in the caller's goroutine.
	OnFailover func(ctx context.Context, e Event)
}

// Event is a failover about to happen.
type Event struct {
	From, To string       // names of the replicas
	Err      error        // what From said
	Class    turret.Class // what it means
}

// Validate says what is wrong with o, if anything is.
func (o Options) Validate() error {
	for i, name := range o.Names {
		if name != "" && slices.Contains(o.Names[:i], name) {
			return fmt.Errorf("failover: two of the Names are %q; they must differ", name)
		}
	}
	return nil
}

// New returns a service that calls replicas in order of preference, home first.
// It has no state. With one replica it is that replica; it panics when there is
// none, or a nil one, and with Validate's error if o is invalid.
//
// When a replica after the first ends the call, its error is an [*Error] with
// those before it; the first one's own comes back unchanged if it is final.
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
	s := &service[Req, Resp]{replicas: slices.Clone(replicas), onFailover: o.OnFailover}
	for i, r := range replicas {
		s.below = append(s.below, r)
		s.names = append(s.names, name(o.Names, i))
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
	replicas   []turret.Service[Req, Resp]
	names      []string
	onFailover func(context.Context, Event)
	below      []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	var failed []ReplicaError
	for i, ok := s.free(ctx, 0); ok; {
		if resp, err = s.replicas[i].Call(ctx, req); err == nil {
			return resp, nil
		}
		class := turret.Outcome(ctx, err)
		failed = append(failed, ReplicaError{s.names[i], err, class})
		if class == turret.Permanent || class == turret.Canceled || ctx.Err() != nil {
			break
		}
		from := i
		if i, ok = s.free(ctx, i+1); ok && s.onFailover != nil {
			s.onFailover(ctx, Event{s.names[from], s.names[i], err, class})
		}
	}
	return resp, failure(failed)
}

// free returns the first replica, from i on, that no rival of the call has: a
// hedge above must not send two calls of one request to the same one.
func (s *service[Req, Resp]) free(ctx context.Context, i int) (replica int, ok bool) {
	for ; i < len(s.replicas); i++ {
		if turret.Claim(ctx, &s.replicas[i]) {
			return i, true
		}
	}
	return 0, false
}

func (s *service[Req, Resp]) String() string { return "failover " + strings.Join(s.names, ", ") }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }
