package signer

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/turretgo/turret/middleware/buffer"
)

// serial makes operations one at a time.
type serial struct {
	*buffer.Buffer[Request, *operation]
}

func newSerial(s crypto.Signer, o WrapOptions) *serial {
	var serial serial
	watchdog := watchdog{o.HungAfter, func() { serial.Abort(ErrHung) }}
	serial.Buffer = buffer.New(operator{s, watchdog}, serialOptions(o))
	return &serial
}

func (s *serial) shutdown(ctx context.Context) error { return s.Shutdown(ctx) }

// concurrent makes each operation in a goroutine of its own.
type concurrent struct {
	operator
	inFlight chan struct{} // one element an operation
	hanging  sync.Once
	hung     chan struct{} // closed when the signer is given up
	closing  sync.Once
	closed   chan struct{} // from the beginning of shutdown
	ended    chan struct{} // from its end
	closeErr error
}

func newConcurrent(s crypto.Signer, o WrapOptions) *concurrent {
	c := &concurrent{
		inFlight: make(chan struct{}, o.MaxInFlight),
		hung:     make(chan struct{}),
		closed:   make(chan struct{}),
		ended:    make(chan struct{}),
	}
	giveUp := func() { c.hanging.Do(func() { close(c.hung) }) }
	c.operator = operator{s, watchdog{o.HungAfter, giveUp}}
	return c
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
		defer c.watch()()
		op.run(ctx, c.signer, req)
	}()
	var err error
	select {
	case op := <-ended:
		return op, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.hung:
		err = ErrHung
	}
	select {
	case op := <-ended: // at the last instant
		return op, nil
	default:
		return nil, err
	}
}

// enter takes a place in flight.
func (c *concurrent) enter() error {
	if err := c.over(); err != nil {
		return err
	}
	select {
	case c.inFlight <- struct{}{}:
		return nil
	default:
	}
	if err := c.over(); err != nil { // who closes takes all places
		return err
	}
	return buffer.ErrFull
}

// over is why there will be no more operations, or nil.
func (c *concurrent) over() error {
	select {
	case <-c.closed:
		return buffer.ErrClosed
	default:
	}
	select {
	case <-c.hung:
		return ErrHung
	default:
		return nil
	}
}

func (c *concurrent) Ready() error {
	err := c.over()
	switch {
	case err != nil:
		return err
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
type operator struct {
	signer crypto.Signer
	watchdog
}

func (o operator) Call(ctx context.Context, req Request) (*operation, error) {
	defer o.watch()()
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
	stack    []byte // of the goroutine that panicked
	returned bool
}

// run lets no panic out: in a goroutine of ours it would end the program.
func (op *operation) run(ctx context.Context, s crypto.Signer, req Request) {
	defer func() {
		if !op.returned {
			if op.panicked = recover(); op.panicked != nil {
				op.stack = debug.Stack()
			}
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
		panicOfTheWrappedSigner(op.panicked, op.stack)
	}
	runtime.Goexit()
	return nil, nil
}

// panicOfTheWrappedSigner tells by its name, as package recovery does, whose panic
// it is that comes up here. The panic with the stack is replaced before anybody
// can recover it; the runtime prints it if nobody recovers the other.
func panicOfTheWrappedSigner(value any, stack []byte) {
	defer func() { panic(value) }()
	panic(fmt.Errorf("the wrapped signer panicked, in %s", stack))
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
