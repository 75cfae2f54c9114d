// Package coalesce makes one call of equal requests that are in flight together,
// and gives its result to all who wait for it.
//
// When an entry of a hot cache expires, every request that misses it asks for
// the same thing at the same moment. One of them is enough. Results are not
// kept: what comes after the answer calls again. The idea is known as request
// collapsing, and in Go as singleflight.
//
// # Whose call it is
//
// The shared call is nobody's in particular. It runs with the context values of
// the caller who came first (attempt, trace), and without a deadline: it lives
// as long as anybody waits. A caller whose context ends leaves at once and
// disturbs no other; when the last one has left, the shared call is cancelled,
// with that one's cause, and whoever comes after that starts a new one.
//
// As the layers below see no deadline, give them one with a timeout layer:
//
//	timeout of each caller → coalesce → timeout of the shared call → retry → …
//
// An error of the shared call is every caller's, unchanged. None of them gets to
// see a cancellation that was another's.
//
// # What is shared
//
// Callers get the very same response and must not change what it points to. The
// request that is sent is the first caller's, and may be in use after that one
// has left; what it points to must not change either. A key says which requests
// are equal, so whatever the answer depends on belongs into it: the user, where
// users may see different things.
//
// A hedge belongs below: above, it joins the flight of its own original.
//
// A call must not wait, further down, for another of its own key: that is
// itself.
package coalesce

import (
	"context"
	"sync"

	"github.com/turretgo/turret"
)

// Layer makes one call of requests in flight that have the same key. It panics
// if key is nil.
//
// A key that does not equal itself, such as NaN, is shared with none. Each
// service that the layer wraps has calls in flight of its own; each of these
// runs in a goroutine.
//
// A panic of the shared call, or a runtime.Goexit, comes up in every caller that
// waits, as if each had called by itself.
func Layer[K comparable, Req, Resp any](key func(req Req) K) turret.Layer[Req, Resp] {
	if key == nil {
		panic("coalesce: Layer needs a function that tells a request's key; it was given nil")
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return &service[K, Req, Resp]{key: key, next: next, flights: make(map[K]*flight[Resp]), below: []any{next}}
	}
}

type service[K comparable, Req, Resp any] struct {
	key   func(Req) K
	next  turret.Service[Req, Resp]
	below []any

	mu      sync.Mutex
	flights map[K]*flight[Resp] // those that may be joined
}

func (s *service[K, Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	if err := ctx.Err(); err != nil {
		return resp, err
	}
	key := s.key(req)
	if key != key { // a map would never let go of it
		return s.next.Call(ctx, req)
	}
	f, joined := s.join(ctx, key, req)
	if joined {
		s.tell(ctx, key, f)
	}
	select {
	case <-f.landed:
		return f.result()
	case <-ctx.Done():
	}
	if s.leave(ctx, key, f) {
		return f.result()
	}
	return resp, ctx.Err()
}

// join takes a seat in the flight of key, or in a new one. It reports whether
// there was one.
func (s *service[K, Req, Resp]) join(ctx context.Context, key K, req Req) (f *flight[Resp], joined bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, joined = s.flights[key]
	if !joined {
		f = &flight[Resp]{landed: make(chan struct{})}
		shared, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		f.cancel = cancel
		s.flights[key] = f
		go s.fly(shared, key, req, f)
	}
	f.waiting++
	return f, joined
}

// tell tells the call's observers that it joined a flight. Should one of them
// panic, its seat is given up.
func (s *service[K, Req, Resp]) tell(ctx context.Context, key K, f *flight[Resp]) {
	told := false
	defer func() {
		if !told {
			s.leave(ctx, key, f)
		}
	}()
	turret.Report(ctx, turret.Event{Layer: "coalesce", Kind: turret.EventJoin})
	told = true
}

// leave gives up a seat, unless the flight has landed in time. The last to leave
// cancels it.
func (s *service[K, Req, Resp]) leave(ctx context.Context, key K, f *flight[Resp]) (landed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-f.landed:
		return true
	default:
	}
	if f.waiting--; f.waiting == 0 {
		delete(s.flights, key)
		f.cancel(context.Cause(ctx))
	}
	return false
}

// fly makes the shared call, and lands it.
func (s *service[K, Req, Resp]) fly(ctx context.Context, key K, req Req, f *flight[Resp]) {
	defer f.cancel(nil)
	defer s.land(key, f)
	f.run(func() (Resp, error) { return s.next.Call(ctx, req) })
}

// land lets everybody have the result, and nobody in any more.
func (s *service[K, Req, Resp]) land(key K, f *flight[Resp]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights[key] == f { // else all had left, and there may be a new one
		delete(s.flights, key)
	}
	close(f.landed)
}

func (s *service[K, Req, Resp]) String() string { return "coalesce" }
func (s *service[K, Req, Resp]) Unwrap() []any  { return s.below }
