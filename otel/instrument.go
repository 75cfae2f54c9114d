package telemetry

import (
	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// Instrument returns what instruments all of a signer's stack:
//
//	b = b.Instrument(telemetry.Instrument(telemetry.Options{Name: "web"}))
//
// That is what [Layer] does, at its outermost named layer, and [AttemptLayer],
// around each replica's key and the verification of what it signs. It panics
// with Validate's error if o is invalid.
//
// A Builder may be built several times, and Instrument called several times with
// the same Name. The stacks are counted together, and their states are told apart
// by the attribute turret.stack.number, which all but the first one have; a number
// is free again when its signer is closed.
func Instrument(o Options) func(layer string) signer.Layer {
	t := newTelemetry(o)
	return func(layer string) signer.Layer {
		return func(next signer.Service) signer.Service {
			if layer == "key" {
				next = &attempter[signer.Request, signer.Response]{t, next, []any{next}}
			}
			return newCaller(t, next)
		}
	}
}

// newCaller returns one that takes the place of those below.
//
// A stack is wrapped from the inside out, and no layer is told that it is the
// last. So each is wrapped as if it were, and the one above it ends that: when
// the stack is complete, one caller is left that does anything, and the others
// hand calls through. No call is made before, so nothing of it needs a lock.
func newCaller(t *telemetry, next signer.Service) signer.Service {
	s := &caller[signer.Request, signer.Response]{t: t, next: next, below: []any{next}}
	s.observed = t.states.add(next, s.retire(turret.Inspect(next))...)
	return s
}

// retire has the callers below do nothing any more, and returns what they
// observed. It looks no further than the key: a key may be a signer with a stack
// of its own.
func (s *caller[Req, Resp]) retire(n turret.Node) (observed []*stack) {
	switch below := n.Service.(type) {
	case *attempter[Req, Resp]:
		if below.t == s.t {
			return nil
		}
	case *caller[Req, Resp]:
		if below.t == s.t && below.observed != nil {
			observed = append(observed, below.observed)
			below.observed = nil
			return observed
		}
	}
	for _, below := range n.Below {
		observed = append(observed, s.retire(below)...)
	}
	return observed
}
