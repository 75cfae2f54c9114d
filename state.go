package turret

import (
	"fmt"
	"log/slog"
)

// Stater is a service that has a state worth looking at: a breaker that is open,
// tokens that are left, calls that queue.
type Stater interface {
	// State returns the service's state now, as a group whose key is the name of
	// the layer, and whose attributes are numbers, durations, bools, strings and
	// groups of these, the same ones each time. What is shared by several services
	// reads the same in each. It does not block, holds up no call, and tells
	// nothing of requests and responses. The group is empty where there is nothing
	// to tell.
	State() slog.Attr
}

// Node is a service in a stack, as [Inspect] finds it.
type Node struct {
	Line    string // the service's line in Describe; empty if it has none
	Replica string // the name of the replica that it is a part of, or empty
	Service any    // the service, as its author wrote it
	Below   []Node // what it wraps: one service for most, one a replica at a fan-out
}

// State returns the state of the node's service now, and whether it has one.
func (n Node) State() (slog.Attr, bool) {
	if s, ok := n.Service.(Stater); ok {
		return s.State(), true
	}
	return slog.Attr{}, false
}

// Inspect returns the stack that begins with svc, for who wants to show more of
// it than [Describe] prints.
func Inspect(svc any) Node { return inspect(svc, "") }

func inspect(svc any, replica string) Node {
	if n, ok := svc.(named); ok {
		svc, replica = n.svc, n.name
	}
	self := itself(svc)
	node := Node{Line: fmt.Sprintf("%T", self), Replica: replica, Service: self}
	if s, ok := self.(fmt.Stringer); ok {
		node.Line = s.String()
	}
	for _, below := range unwrap(svc) {
		node.Below = append(node.Below, inspect(below, replica))
	}
	return node
}

// Named returns svc as a fan-out's Unwrap names one of several services below:
// it is the same to everything, and [Inspect] knows which replica it is.
func Named(name string, svc any) any { return named{name, svc} }

type named struct {
	name string
	svc  any
}

func (n named) self() any     { return itself(n.svc) }
func (n named) Unwrap() []any { return unwrap(n.svc) }
