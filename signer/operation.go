package signer

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/turretgo/turret/middleware/buffer"
)

// serial makes operations one at a time.
type serial struct {
	*buffer.Buffer[Request, *operation]
}

func (s *serial) shutdown(ctx context.Context) error { return s.Shutdown(ctx) }

// concurrent makes each operation in a goroutine of its own.
type concurrent struct {
	operator
	inFlight chan struct{} // one element an operation
	closing  sync.Once
	closed   chan struct{} // from the beginning of shutdown
	ended    chan struct{} // from its end
	closeErr error
}

func newConcurrent(s crypto.Signer, maxInFlight int) *concurrent {
	return &concurrent{
		operator: operator{s},
		inFlight: make(chan struct{}, maxInFlight),
		closed:   make(chan struct{}),
		ended:    make(chan struct{}),
	}
}

func (c *concurrent) Call(ctx context.Context, req Request) (*operation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.enter(); err != nil {
		return nil, err
	}
	ended := make(chan *operation, 1)
	go func() {
		op := &operation{}
		defer func() { // also after a Goexit
			<-c.inFlight
			ended <- op
		}()
		op.run(ctx, c.signer, req)
	}()
	select {
	case op := <-ended:
		return op, nil
	case <-ctx.Done():
	}
	select {
	case op := <-ended: // at the last instant
		return op, nil
	default:
		return nil, ctx.Err()
	}
}

// enter takes a place in flight.
func (c *concurrent) enter() error {
	if c.isClosed() {
		return buffer.ErrClosed
	}
	select {
	case c.inFlight <- struct{}{}:
		return nil
	default:
	}
	if c.isClosed() { // who closes takes all places
		return buffer.ErrClosed
	}
	return buffer.ErrFull
}

func (c *concurrent) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

func (c *concurrent) Ready() error {
	switch {
	case c.isClosed():
		return buffer.ErrClosed
	case len(c.inFlight) == cap(c.inFlight):
		return buffer.ErrFull
	}
	return nil
}

// shutdown closes the signer when it has taken all places, from which on there
// is nothing in flight and never will be.
func (c *concurrent) shutdown(ctx context.Context) error {
	c.closing.Do(func() {
		close(c.closed)
		go func() {
			defer close(c.ended)
			for range cap(c.inFlight) {
				c.inFlight <- struct{}{}
			}
			defer func() {
				if p := recover(); p != nil { // in a goroutine of ours it would end the program
					c.closeErr = fmt.Errorf("panic: %v", p)
				}
			}()
			c.closeErr = c.operator.Close()
		}()
	})
	select {
	case <-c.ended:
		return c.closeErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// operator makes operations in the goroutine that calls it.
type operator struct{ signer crypto.Signer }

func (o operator) Call(ctx context.Context, req Request) (*operation, error) {
	op := &operation{}
	op.run(ctx, o.signer, req)
	return op, nil
}

func (o operator) Close() error {
	if c, ok := o.signer.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// operation is how one call of a signer ended.
type operation struct {
	sig      []byte
	err      error
	panicked any
	returned bool
}

// run lets no panic out: in a goroutine of ours it would end the program.
func (op *operation) run(ctx context.Context, s crypto.Signer, req Request) {
	defer func() {
		if !op.returned {
			op.panicked = recover()
		}
	}()
	if contextual, ok := s.(contextSigner); ok {
		op.sig, op.err = signContext(ctx, contextual, req)
	} else {
		op.sig, op.err = sign(s, req)
	}
	op.returned = true
}

// result ends as the signer did: it returns, panics, or exits the goroutine.
func (op *operation) result() ([]byte, error) {
	switch {
	case op.returned:
		return op.sig, op.err
	case op.panicked != nil:
		panic(op.panicked)
	}
	runtime.Goexit()
	return nil, nil
}

// sign calls a crypto.Signer for a request.
func sign(s crypto.Signer, req Request) ([]byte, error) {
	opts := req.Algorithm.SignerOpts()
	if req.MessageType == Raw {
		return crypto.SignMessage(s, rand.Reader, req.Message, opts)
	}
	return s.Sign(rand.Reader, req.Message, opts)
}

// contextSigner is a crypto.Signer that does take a context.
type contextSigner interface {
	crypto.Signer
	SignContext(ctx context.Context, rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// signContext calls a contextSigner for a request.
func signContext(ctx context.Context, s contextSigner, req Request) ([]byte, error) {
	if boxed, ok := s.(*Signer); ok {
		return sign(boxed.WithContext(ctx), req)
	}
	opts, message := req.Algorithm.SignerOpts(), req.Message
	if h := opts.HashFunc(); h != 0 && req.MessageType == Raw {
		d := h.New()
		d.Write(message)
		message = d.Sum(nil)
	}
	return s.SignContext(ctx, rand.Reader, message, opts)
}
