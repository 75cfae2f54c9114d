package layertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/turretgo/turret"
)

// ErrBeyondScript is what errors.Is finds in the error of a call for which a
// [Mock] has no answer. It is of class Permanent, so that no layer tries again.
var ErrBeyondScript = turret.WithClass(errors.New("layertest: the mock's script has no more answers"), turret.Permanent)

// Mock is a service that answers by a script: each call takes the next answer.
// A call beyond the script fails the test.
//
// A script is written with the methods that return the Mock, and can be
// continued while calls are made. A Mock is safe for concurrent use.
type Mock[Req, Resp any] struct {
	t testing.TB

	mu       sync.Mutex
	script   []turret.ServiceFunc[Req, Resp] // what was not used yet
	requests []Req
	delay    time.Duration // of the answers that are scripted next
	notReady error
}

// NewMock returns a Mock without a script.
func NewMock[Req, Resp any](t testing.TB) *Mock[Req, Resp] { return &Mock[Req, Resp]{t: t} }

// Respond scripts successes, one a call.
func (m *Mock[Req, Resp]) Respond(resps ...Resp) *Mock[Req, Resp] {
	var answers []turret.ServiceFunc[Req, Resp]
	for _, resp := range resps {
		answers = append(answers, func(context.Context, Req) (Resp, error) { return resp, nil })
	}
	return m.then(answers...)
}

// Fail scripts errors, one a call.
func (m *Mock[Req, Resp]) Fail(errs ...error) *Mock[Req, Resp] {
	var answers []turret.ServiceFunc[Req, Resp]
	for _, err := range errs {
		answers = append(answers, func(context.Context, Req) (resp Resp, _ error) { return resp, err })
	}
	return m.then(answers...)
}

// Hang scripts a call that waits until its context is done, and returns that
// context's error.
func (m *Mock[Req, Resp]) Hang() *Mock[Req, Resp] {
	return m.Do(func(ctx context.Context, _ Req) (resp Resp, _ error) {
		<-ctx.Done()
		return resp, ctx.Err()
	})
}

// Panic scripts a call that panics with value.
func (m *Mock[Req, Resp]) Panic(value any) *Mock[Req, Resp] {
	return m.Do(func(context.Context, Req) (Resp, error) { panic(value) })
}

// Goexit scripts a call that ends its goroutine with runtime.Goexit, as a
// t.FailNow in it would.
func (m *Mock[Req, Resp]) Goexit() *Mock[Req, Resp] {
	return m.Do(func(context.Context, Req) (resp Resp, err error) {
		runtime.Goexit()
		return resp, err
	})
}

// Do scripts a call that f answers.
func (m *Mock[Req, Resp]) Do(f func(ctx context.Context, req Req) (Resp, error)) *Mock[Req, Resp] {
	return m.then(f)
}

// After delays what is scripted next, up to the next method of the script: each
// of those answers takes d, or as long as its context lives, whose error it is
// then.
func (m *Mock[Req, Resp]) After(d time.Duration) *Mock[Req, Resp] {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delay = d
	return m
}

// MustUseAll makes the test fail at its end if answers are left.
func (m *Mock[Req, Resp]) MustUseAll() *Mock[Req, Resp] {
	m.t.Cleanup(func() {
		m.t.Helper()
		if left := m.Left(); left > 0 {
			m.t.Errorf("layertest: the mock was called %d times, and %d answers of its script are left", len(m.Requests()), left)
		}
	})
	return m
}

// then adds answers to the script.
func (m *Mock[Req, Resp]) then(answers ...turret.ServiceFunc[Req, Resp]) *Mock[Req, Resp] {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, answer := range answers {
		m.script = append(m.script, delayed(m.delay, answer))
	}
	m.delay = 0
	return m
}

func delayed[Req, Resp any](d time.Duration, answer turret.ServiceFunc[Req, Resp]) turret.ServiceFunc[Req, Resp] {
	if d <= 0 {
		return answer
	}
	return func(ctx context.Context, req Req) (resp Resp, _ error) {
		select {
		case <-time.After(d):
			return answer(ctx, req)
		case <-ctx.Done():
			return resp, ctx.Err()
		}
	}
}

// Call answers with the script's next answer.
func (m *Mock[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, _ error) {
	m.t.Helper()
	if answer := m.take(req); answer != nil {
		return answer(ctx, req)
	}
	calls := len(m.Requests())
	m.t.Errorf("layertest: the mock got call %d, with request %v, and has no answer for it", calls, req)
	return resp, fmt.Errorf("%w: call %d", ErrBeyondScript, calls)
}

// take returns the answer for req, nil if there is none.
func (m *Mock[Req, Resp]) take(req Req) turret.ServiceFunc[Req, Resp] {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, req)
	if len(m.script) == 0 {
		return nil
	}
	answer := m.script[0]
	m.script = m.script[1:]
	return answer
}

// Requests returns the requests of all calls so far, in the order of the calls.
func (m *Mock[Req, Resp]) Requests() []Req {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.requests)
}

// Left returns how many answers of the script were not used yet.
func (m *Mock[Req, Resp]) Left() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.script)
}

// SetReady sets what [turret.Ready] gets from the mock. It answers calls all the
// same.
func (m *Mock[Req, Resp]) SetReady(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notReady = err
}

// Ready returns what SetReady set, and nil before.
func (m *Mock[Req, Resp]) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.notReady
}

// String is the mock's line in [turret.Describe].
func (m *Mock[Req, Resp]) String() string { return "mock" }
