package signer

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"io"
	"runtime"
)

// concurrent makes each operation in a goroutine of its own.
type concurrent struct {
	operator
	inFlight chan struct{} // one element an operation
}

var errFull = errors.New("no room for an operation")

func (c *concurrent) Call(ctx context.Context, req Request) (*operation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case c.inFlight <- struct{}{}:
	default:
		return nil, errFull
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
		return nil, ctx.Err()
	}
}

func (c *concurrent) Ready() error {
	if len(c.inFlight) == cap(c.inFlight) {
		return errFull
	}
	return nil
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
