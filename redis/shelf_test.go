package fleet

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shelf is a register on the bubble's clock, which can fall ill.
type shelf struct {
	roundTrip time.Duration
	ahead     time.Duration // its clock, of the bubble's

	mu     sync.Mutex
	value  string
	err    error
	full   bool // refuses writing
	hangs  bool // answers nobody, until the caller's context ends
	deaf   bool // not even then
	calls  int
	before func(s *shelf) // a swap, with the lock held
	heal   chan struct{}  // closed when deaf ends
}

func newShelf() *shelf { return &shelf{roundTrip: time.Millisecond / 2, heal: make(chan struct{})} }

func (s *shelf) swap(ctx context.Context, old, next string) (reading, error) {
	s.mu.Lock()
	s.calls++
	err, hangs, deaf, roundTrip := s.err, s.hangs, s.deaf, s.roundTrip
	s.mu.Unlock()
	switch {
	case err != nil:
		return reading{}, err
	case deaf:
		<-s.heal
	case hangs:
		<-ctx.Done()
		return reading{}, ctx.Err()
	}
	select {
	case <-time.After(roundTrip):
	case <-ctx.Done():
		return reading{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before != nil {
		s.before(s)
	}
	swaps := next != "" && s.value == old
	if swaps {
		if s.full {
			return reading{}, errFull
		}
		s.value = next
	}
	return reading{s.value, swaps, time.Now().Add(s.ahead).Round(0)}, nil
}

func (s *shelf) set(f func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *shelf) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// record returns what is on the shelf.
func (s *shelf) record(t *testing.T) (r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NoError(t, json.Unmarshal([]byte(s.value), &r))
	return r
}
