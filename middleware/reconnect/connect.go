package reconnect

import (
	"context"
	"fmt"
	"time"

	"github.com/turretgo/turret"
)

// take returns the connection to call on, counted in.
func (s *service[Req, Resp]) take(ctx context.Context) (*connection[Req, Resp], error) {
	if c := s.current.Load(); c != nil && c.acquire() {
		return c, nil
	}
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	defer func() { <-s.turn }()
	if c := s.current.Load(); c != nil && c.acquire() {
		return c, nil // made by another, while this one waited
	}
	return s.makeOne(ctx)
}

// wait waits for the turn to connect.
func (s *service[Req, Resp]) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.life.Done():
		return ErrClosed
	}
}

// makeOne connects, if it is time to. It is called by one at a time.
func (s *service[Req, Resp]) makeOne(ctx context.Context) (*connection[Req, Resp], error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	start, err := time.Now(), errPanicked
	defer func() {
		if err != nil {
			s.failed(ctx, err)
		}
	}()
	var svc turret.Service[Req, Resp]
	if svc, err = s.connectUntil(ctx); err == nil && svc == nil {
		err = errNothing
	}
	if err != nil {
		if svc != nil {
			_ = turret.Close(svc) // half a connection; the error that counts is err
		}
		report(ctx, turret.EventConnect, time.Since(start), err)
		return nil, s.told(err)
	}
	took := time.Since(start)
	c, closed := s.install(svc)
	if closed != nil {
		return nil, closed
	}
	s.tellConnected(ctx, c, took)
	return c, nil
}

// tellConnected tells the call's observers that c was made. Should one of them
// panic, the caller is counted out again.
func (s *service[Req, Resp]) tellConnected(ctx context.Context, c *connection[Req, Resp], took time.Duration) {
	told := false
	defer func() {
		if !told {
			s.release(c)
		}
	}()
	report(ctx, turret.EventConnect, took, nil)
	told = true
}

// report tells the call's observers what became of its connection.
func report(ctx context.Context, kind turret.EventKind, delay time.Duration, err error) {
	turret.Report(ctx, turret.Event{Layer: "reconnect", Kind: kind, Delay: delay, Err: err})
}

// begin refuses to connect, or counts a connection that is to be closed again.
func (s *service[Req, Resp]) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.refusal()
	if err == nil {
		s.unclosed.Add(1)
	}
	return err
}

func (s *service[Req, Resp]) refusal() error {
	if s.closed {
		return ErrClosed
	}
	return s.backoff.refusal()
}

// connectUntil calls connect with a context that ends with ctx, with Close, and
// when connect returns: a connection must not hang on one of its callers.
func (s *service[Req, Resp]) connectUntil(ctx context.Context) (turret.Service[Req, Resp], error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(ErrClosed) })()
	return s.connect(ctx)
}

// failed puts off the next attempt, unless it is only that a caller has gone.
func (s *service[Req, Resp]) failed(ctx context.Context, err error) {
	defer s.unclosed.Done()
	if turret.Outcome(ctx, err) == turret.Canceled {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backoff.failed(err)
}

// told is what a caller whose attempt failed is told.
func (s *service[Req, Resp]) told(err error) error {
	if s.life.Err() != nil {
		return fmt.Errorf("%w, while it was connecting: %w", ErrClosed, err)
	}
	return fmt.Errorf("reconnect: cannot connect: %w", err)
}

// install makes svc the current connection, and counts the caller in. After
// Close it closes svc instead.
func (s *service[Req, Resp]) install(svc turret.Service[Req, Resp]) (*connection[Req, Resp], error) {
	c := &connection[Req, Resp]{Service: svc, made: time.Now()}
	c.users.Store(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.release(c)
		return nil, ErrClosed
	}
	c.users.Add(1)
	s.current.Store(c)
	return c, nil
}
