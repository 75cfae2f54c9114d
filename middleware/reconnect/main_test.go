package reconnect_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/reconnect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errKilled  = errors.New("CKR_SESSION_HANDLE_INVALID")
	errRefused = errors.New("connection refused")
	errNoKey   = turret.WithClass(errors.New("no such key"), turret.Permanent)
)

// does is a request: what the session is to do with it.
type does func(ctx context.Context) error

func well(context.Context) error { return nil }

func fails(err error) does { return func(context.Context) error { return err } }

func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// takes is a call that takes d, whatever its context, and then says err.
func takes(d time.Duration, err error) does {
	return func(context.Context) error {
		<-time.After(d)
		return err
	}
}

// session is what a token makes. It answers with its number.
type session struct {
	token    *token
	n        int
	inFlight atomic.Int32
	closes   atomic.Int32
}

func (s *session) Call(ctx context.Context, do does) (int, error) {
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	if s.closes.Load() > 0 {
		panic("a call on a closed session")
	}
	return s.n, do(ctx)
}

func (s *session) Close() error {
	if s.inFlight.Load() > 0 {
		s.token.closedInUse.Store(true)
	}
	s.closes.Add(1)
	if s.token.close != nil {
		return s.token.close()
	}
	return nil
}

func (s *session) Ready() error { return s.token.unready }

// token makes sessions.
type token struct {
	connect     does         // what comes before a session is made; nil for nothing
	close       func() error // what a session's Close does; likewise
	unready     error        // what a session's Ready says
	connecting  atomic.Int32 // attempts under way
	most        atomic.Int32 // of these at a time
	closedInUse atomic.Bool

	mu       sync.Mutex
	sessions []*session
	attempts int
}

func (t *token) open(ctx context.Context) (turret.Service[does, int], error) {
	t.most.Store(max(t.most.Load(), t.connecting.Add(1)))
	defer t.connecting.Add(-1)
	t.mu.Lock()
	t.attempts++
	t.mu.Unlock()
	if t.connect != nil {
		if err := t.connect(ctx); err != nil {
			return nil, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &session{token: t, n: len(t.sessions) + 1}
	t.sessions = append(t.sessions, s)
	return s, nil
}

func (t *token) closes() (each []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sessions {
		each = append(each, int(s.closes.Load()))
	}
	return each
}

type service = turret.Service[does, int]

// bubble runs test with a token and its service in fake time, and closes the
// service in the end.
func bubble(t *testing.T, o reconnect.Options, test func(t *testing.T, token *token, svc service)) {
	synctest.Test(t, func(t *testing.T) {
		token := &token{}
		svc := reconnect.New(o, token.open)
		test(t, token, svc)
		_ = turret.Close(svc)
		for i, closes := range token.closes() {
			if closes != 1 {
				t.Errorf("session %d was closed %d times", i+1, closes)
			}
		}
		if token.closedInUse.Load() {
			t.Error("a session was closed while a call was in flight on it")
		}
	})
}

// call is a call under way.
type call struct {
	resp  int
	err   error
	took  time.Duration
	ended chan struct{}
}

// begin makes a call in a goroutine of its own, and returns when it waits.
func begin(ctx context.Context, svc service, do does) *call {
	c := &call{ended: make(chan struct{})}
	start := time.Now()
	go func() {
		defer close(c.ended)
		c.resp, c.err = svc.Call(ctx, do)
		c.took = time.Since(start)
	}()
	synctest.Wait()
	return c
}

func (c *call) wait() *call {
	<-c.ended
	return c
}
