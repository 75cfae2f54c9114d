// Package steer routes each request to the service that is in charge of it:
// reads to one, writes to another, each tenant to its own.
//
// A function looks at the request and names its target. Only that target is
// called, so a slow one holds up nobody else's requests. Tower's Steer, from
// which the idea is, has to wait until all of them are ready.
//
// Steer tells apart services that do different things. Between services that do
// the same thing, middleware/balance and middleware/failover choose.
//
//	steer → (timeout → retry → … → target) × n
package steer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/turretgo/turret"
)

// ErrNoTarget is what errors.Is finds in every [*Error].
var ErrNoTarget = errors.New("no such target")

// Error is the error of a request whose target, as picked, does not exist.
// Nothing was called. Its class is Permanent: the same request would go the same
// way again.
type Error struct {
	Target  string   // what was picked
	Targets []string // what there is, in alphabetical order
}

func (e *Error) Error() string {
	return fmt.Sprintf("steer: no target %q; there are %s", e.Target, strings.Join(e.Targets, ", "))
}

// Is makes the error match ErrNoTarget.
func (e *Error) Is(target error) bool { return target == ErrNoTarget }

// Class is Permanent.
func (e *Error) Class() turret.Class { return turret.Permanent }

// New returns a service that sends each request to the target that pick names.
// Pick is called once a call, in the caller's goroutine, and is safe for
// concurrent use. A name that is none of targets' is an [*Error]; a picker has a
// default target by naming it.
//
// New copies targets, and has no other state. It panics if pick is nil, if there
// are no targets, or if one of them is nil.
func New[Req, Resp any](pick func(ctx context.Context, req Req) string, targets map[string]turret.Service[Req, Resp]) turret.Service[Req, Resp] {
	if pick == nil {
		panic("steer: New needs a function that picks a target; it was given nil")
	}
	if len(targets) == 0 {
		panic("steer: New needs at least one target; it was given none")
	}
	s := &service[Req, Resp]{
		pick:    pick,
		targets: maps.Clone(targets),
		names:   slices.Sorted(maps.Keys(targets)),
	}
	for _, name := range s.names {
		if targets[name] == nil {
			panic(fmt.Sprintf("steer: target %q is nil; leave it out, and its requests fail with ErrNoTarget", name))
		}
		s.below = append(s.below, turret.Named(name, targets[name]))
	}
	return s
}

type service[Req, Resp any] struct {
	pick    func(context.Context, Req) string
	targets map[string]turret.Service[Req, Resp]
	names   []string // in alphabetical order
	below   []any    // in the same
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	name := s.pick(ctx, req)
	target, ok := s.targets[name]
	if !ok {
		err := &Error{name, slices.Clone(s.names)}
		turret.Report(ctx, turret.Event{Layer: "steer", Kind: turret.EventRefuse, Err: err})
		var none Resp
		return none, err
	}
	return target.Call(ctx, req)
}

func (s *service[Req, Resp]) String() string { return "steer " + strings.Join(s.names, ", ") }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }
