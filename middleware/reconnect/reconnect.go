// Package reconnect keeps a service that can break: it is made on first use, and
// made anew after it broke. A session of a PKCS #11 token that is killed in the
// middle of a call, or a connection to an ssh-agent, comes back this way.
//
// A call that breaks the connection gets its error, and a retry above connects.
// One caller connects at a time, within its own context; the others wait. If that
// fails, it gets the error, and a wait begins in which every call, and whoever
// waited, is refused at once with an error that is [ErrBackoff] and says when to
// come again. If its own context ended, that says nothing about the other side,
// and the next in line tries; callers with less time than it takes to connect
// never get there, so give one of them more.
//
// A broken connection is closed with [turret.Close] when the last call on it has
// returned, once. Calls in flight when it broke stay on it, beside the first ones
// on its successor.
//
// The idea is Tower's Reconnect; the backoff is what gRPC and others do about it.
// It stands right above what it makes. The timeout of an attempt belongs to that:
//
//	retry → breaker → reconnect → (timeout of an attempt → connection)
//
// An attempt that timed out below is Transient, and breaks a connection that
// hangs. The same timeout above would be the caller's going away, which breaks
// nothing, and the connection would hang for ever.
package reconnect

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/turretgo/turret"
)

// New returns a service that calls what connect makes. It panics if connect is
// nil or o is invalid.
//
// Connect returns soon after its context is done, like a [turret.Service]. That
// context is for connecting only, and ends when connect returns.
//
// [turret.Close] ends the service: it waits until the calls in flight have
// returned and the connection is closed, and returns what that said. What closing
// broken connections said until then is dropped.
func New[Req, Resp any](o Options, connect func(ctx context.Context) (turret.Service[Req, Resp], error)) turret.Service[Req, Resp] {
	if connect == nil {
		panic("reconnect: New needs a function that connects; it was given nil")
	}
	if err := o.Validate(); err != nil {
		panic(err)
	}
	o = o.withDefaults()
	s := &service[Req, Resp]{
		connect:  connect,
		broken:   o.Broken,
		onBroken: o.OnBroken,
		line:     o.String(),
		turn:     make(chan struct{}, 1),
		backoff:  backoff{min: o.MinBackoff, max: o.MaxBackoff},
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

type service[Req, Resp any] struct {
	connect  func(context.Context) (turret.Service[Req, Resp], error)
	broken   func(error) bool
	onBroken func(context.Context, error)
	line     string

	current atomic.Pointer[connection[Req, Resp]] // nil if there is none; set to nil under mu
	turn    chan struct{}                         // held by who connects

	life     context.Context // until Close
	end      context.CancelFunc
	unclosed sync.WaitGroup // connections, and those being made

	mu       sync.Mutex
	backoff  backoff
	closed   bool
	closeErr error
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	c, err := s.take(ctx)
	if err != nil {
		if _, early := err.(*BackoffError); early || err == ErrClosed {
			report(ctx, turret.EventRefuse, 0, err)
		}
		var none Resp
		return none, err
	}
	defer s.release(c)
	returned := false
	defer func() {
		if !returned { // in what state it is, nobody knows
			s.broke(ctx, c, errPanicked)
		}
	}()
	resp, err := c.Call(ctx, req)
	returned = true
	s.judge(ctx, c, err)
	return resp, err
}

// judge learns from a call's result how its connection is.
func (s *service[Req, Resp]) judge(ctx context.Context, c *connection[Req, Resp], err error) {
	switch {
	case err != nil && turret.Outcome(ctx, err) == turret.Canceled: // nothing
	case err != nil && s.isBroken(ctx, err):
		s.broke(ctx, c, err)
	case err != nil && turret.Outcome(ctx, err) != turret.Permanent: // it was not reached, or is over quota
	case !c.worked.Load():
		c.worked.Store(true)
	}
}

func (s *service[Req, Resp]) isBroken(ctx context.Context, err error) bool {
	if s.broken != nil {
		return s.broken(err)
	}
	class := turret.Outcome(ctx, err)
	return class == turret.Transient || class == turret.Unknown
}

func (s *service[Req, Resp]) broke(ctx context.Context, c *connection[Req, Resp], err error) {
	if !s.retire(c, err) {
		return
	}
	if s.onBroken != nil {
		s.onBroken(ctx, err)
	}
	report(ctx, turret.EventBreak, 0, err)
}

// Ready speaks for the connection as well, but not where that says it is broken:
// a call has to find out, and one that its rate limit refuses for this never
// would. Without a connection it is ready to connect, unless it is too soon.
func (s *service[Req, Resp]) Ready() error {
	if c := s.current.Load(); c != nil && c.acquire() {
		defer s.release(c)
		err := turret.Ready(c.Service)
		if err != nil && s.isBroken(context.Background(), err) {
			return nil
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusal()
}

// Close closes the current connection after its last call. It must not be called
// from within a call.
func (s *service[Req, Resp]) Close() error {
	s.mu.Lock()
	s.closed = true
	s.end()
	if c := s.current.Swap(nil); c != nil {
		s.release(c)
	}
	s.mu.Unlock()
	s.unclosed.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closeErr
}

// String is all that there is to describe: what it calls comes and goes, so there
// is no Unwrap.
func (s *service[Req, Resp]) String() string { return s.line }
