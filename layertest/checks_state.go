package layertest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
)

// tellsState looks at the state of what the layer made, if that has one, before,
// during and after calls that end in all sorts of ways.
func (tr *trial[Req, Resp]) tellsState() {
	var mood atomic.Int32
	stack := tr.wrap(tr.tempered(&mood))
	fresh, ok := tr.states(stack)
	if !ok {
		return
	}
	for _, m := range []temper{well, fails, hangs} {
		mood.Store(int32(m))
		ctx, cancel := context.WithTimeout(tr.ctx, soon)
		defer cancel()
		var calls [20]<-chan outcome[Resp]
		for n := range calls {
			calls[n] = tr.begin(ctx, stack, n+1)
			if !tr.sameStates(stack, fresh) { // beside calls: the race detector looks on
				return
			}
		}
		for _, call := range calls {
			if _, ok := tr.wait(call, patience, "one of 20 calls"); !ok {
				return
			}
		}
		if !tr.sameStates(stack, fresh) {
			return
		}
	}
}

func (tr *trial[Req, Resp]) sameStates(stack turret.Service[Req, Resp], before []string) bool {
	now, ok := tr.states(stack)
	if ok && !slices.Equal(now, before) {
		tr.Errorf("State has other attributes after a few calls; it should have the same ones each time, and other values:\n%s\n%s",
			strings.Join(before, " "), strings.Join(now, " "))
		return false
	}
	return ok
}

// states returns the keys of all states in a stack, and reports false if there is
// something wrong with one.
func (tr *trial[Req, Resp]) states(stack turret.Service[Req, Resp]) (keys []string, ok bool) {
	found := make(chan *states, 1)
	go func() {
		var s states
		s.walk(turret.Inspect(stack))
		found <- &s
	}()
	select {
	case s := <-found:
		if s.wrong != "" {
			tr.Errorf("%s", s.wrong)
		}
		return s.keys, s.wrong == ""
	case <-time.After(soon):
		tr.Errorf("State has not returned %v later; it should not wait for anything", soon)
		return nil, false
	}
}

// states is what the states of a stack consist of.
type states struct {
	keys  []string // with those of the groups that they are in
	wrong string   // with the last one that there is something wrong with
}

func (s *states) walk(n turret.Node) {
	if state, ok := n.State(); ok {
		s.look(n.Line, state)
	}
	for _, below := range n.Below {
		s.walk(below)
	}
}

func (s *states) look(line string, state slog.Attr) {
	if kind := state.Value.Kind(); state.Key == "" || kind != slog.KindGroup {
		s.wrong = fmt.Sprintf("State of %q returns %q, of kind %v; it should return a group whose key is the name of the layer", line, state, kind)
		return
	}
	s.lookInto(line, state.Key, state.Value.Group())
}

func (s *states) lookInto(line, path string, group []slog.Attr) {
	s.keys = append(s.keys, path)
	for _, a := range group {
		path := path + "." + a.Key
		switch kind := a.Value.Kind(); kind {
		case slog.KindGroup:
			s.lookInto(line, path, a.Value.Group())
		case slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration, slog.KindBool, slog.KindString:
			s.keys = append(s.keys, path)
		default:
			s.wrong = fmt.Sprintf("State of %q has an attribute %s of kind %v; it should be a number, a duration, a bool, a string or a group of these", line, path, kind)
		}
	}
}
