package turret

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Readier is a service that can tell whether it would admit a call now.
type Readier interface {
	// Ready returns nil if a call made now would be admitted, else the error
	// that it would be refused with. It reserves nothing, does not block, and
	// speaks for this service alone; Ready, the function, asks those below.
	Ready() error
}

// Ready tells whether svc would admit a call now: nil, or why not. It asks svc
// and then what svc wraps, down the stack. Every layer of a chain must be
// ready, and any one replica of a fan-out; a service that cannot tell is ready.
//
// It is a hint. Between the answer and a call, things change.
func Ready(svc any) error {
	if r, ok := itself(svc).(Readier); ok {
		if err := r.Ready(); err != nil {
			return err
		}
	}
	switch below := unwrap(svc); len(below) {
	case 0:
		return nil
	case 1:
		return Ready(below[0])
	default:
		return anyReady(below)
	}
}

func anyReady(replicas []any) error {
	var errs unready
	for _, r := range replicas {
		err := Ready(r)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errs
}

// Describe prints a stack: one line a layer, outermost first, and the replicas
// of a fan-out indented under it. A service's line is what its String method
// says, or else its type; one that says nothing has no line. A line says how a
// layer is configured, never its state, so that a test can pin the order of a
// stack.
func Describe(svc any) string {
	var b strings.Builder
	describe(&b, Inspect(svc), 0)
	return strings.TrimSuffix(b.String(), "\n")
}

func describe(b *strings.Builder, n Node, depth int) {
	if n.Line != "" {
		fmt.Fprintf(b, "%s%s\n", strings.Repeat("  ", depth), n.Line)
	}
	if len(n.Below) > 1 {
		depth++
	}
	for _, below := range n.Below {
		describe(b, below, depth)
	}
}

// Close closes what in a stack holds goroutines or connections: every service
// that has a method Close() error, from the outermost down, each one once, even
// where two replicas share it. It returns what they said, joined.
//
// A service's Close must bear to be called again. One that closes what is below
// by itself says so with [Owned].
func Close(svc any) error {
	return closeAll(svc, make(map[any]bool))
}

func closeAll(svc any, done map[any]bool) error {
	if _, ok := svc.(owned); ok {
		return nil
	}
	if n, ok := svc.(named); ok { // the same service may have two names
		return closeAll(n.svc, done)
	}
	if reflect.ValueOf(svc).Comparable() {
		if done[svc] {
			return nil
		}
		done[svc] = true
	}
	var errs []error
	if c, ok := itself(svc).(io.Closer); ok {
		errs = append(errs, c.Close())
	}
	for _, s := range unwrap(svc) {
		errs = append(errs, closeAll(s, done))
	}
	return errors.Join(errs...)
}

// Owned returns svc as a service's Unwrap names what it closes by itself: it is
// described and asked whether it is ready like any other, but [Close] stops there.
func Owned(svc any) any { return owned{svc} }

type owned struct{ svc any }

func (o owned) self() any     { return itself(o.svc) }
func (o owned) Unwrap() []any { return unwrap(o.svc) }

// unwrapper is a service that names what it wraps: one service for most layers,
// one a replica at a fan-out. Callers do not change the slice.
type unwrapper interface{ Unwrap() []any }

func unwrap(svc any) []any {
	if u, ok := svc.(unwrapper); ok {
		return u.Unwrap()
	}
	return nil
}

// itself is the service that the author of a layer wrote, where Stack linked it
// to the one below.
func itself(svc any) any {
	if l, ok := svc.(interface{ self() any }); ok {
		return l.self()
	}
	return svc
}
