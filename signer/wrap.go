package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"io"
	"runtime"

	"github.com/turretgo/turret"
)

// WrapOptions say what a wrapped signer can bear. The zero WrapOptions suit one
// that is safe for concurrent use.
type WrapOptions struct {
	// MaxInFlight bounds the operations that have not returned: those under way
	// and those left behind by callers who gave up. One more is ErrStuck, of
	// class Rejected. 0 means 1024.
	MaxInFlight int

	// Serial makes operations one at a time, in the order of the calls, as smart
	// cards and PKCS #11 sessions need it. Calls wait for their turn; one whose
	// caller has gone is skipped.
	Serial bool
}

// Validate says what is wrong with o, if anything is.
func (o WrapOptions) Validate() error {
	if o.MaxInFlight < 0 {
		return &Error{Reason: fmt.Sprintf("WrapOptions.MaxInFlight is %d; it must be at least 1, or 0 for the default of 1024", o.MaxInFlight)}
	}
	return nil
}

// Wrap makes a [Key] of any crypto.Signer: PKCS #11, a TPM, another vendor's KMS
// or a key in memory. It panics if s is nil or o is invalid.
//
// A crypto.Signer knows no context. Each operation therefore runs in a goroutine
// of its own, and a caller whose context ends goes at once, leaving it behind; o
// bounds how many there can be. What an operation left behind returns goes to
// nobody. A panic of s comes up in the caller, unless that has gone.
//
// A signer with a method SignContext, such as [*Signer], is called through that
// instead. A crypto.MessageSigner gets the whole message where there is one.
//
// Errors of s pass unchanged. They are of class Unknown, and retried, unless s
// classifies them; see [turret.MapError].
func Wrap(s crypto.Signer, o WrapOptions) *Wrapped {
	if s == nil {
		panic(&Error{Reason: "Wrap needs a crypto.Signer; it was given nil"})
	}
	if err := o.Validate(); err != nil {
		panic(err)
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 1024
	}
	w := &Wrapped{signer: s, pub: s.Public(), inFlight: make(chan struct{}, o.MaxInFlight)}
	if o.Serial {
		w.turn = make(chan struct{}, 1)
	}
	return w
}

// Wrapped is a crypto.Signer as a [Key], and as the [KeyProvider] of itself.
type Wrapped struct {
	signer   crypto.Signer
	pub      crypto.PublicKey
	inFlight chan struct{} // one element an operation
	turn     chan struct{} // held by the operation under way, where they are serial
}

var (
	_ Key         = (*Wrapped)(nil)
	_ KeyProvider = (*Wrapped)(nil)
)

// Public returns the signer's public key, which is asked for once.
func (w *Wrapped) Public() crypto.PublicKey { return w.pub }

// ProvideKey returns w.
func (w *Wrapped) ProvideKey(context.Context) (Key, error) { return w, nil }

// Algorithms returns all that the type of the public key has. A key in memory
// does not keep to one hash a curve.
func (w *Wrapped) Algorithms() []Algorithm { return family(w.pub) }

func (w *Wrapped) String() string { return fmt.Sprintf("%T", w.signer) }

func (w *Wrapped) takesMessages() bool {
	_, ok := w.signer.(crypto.MessageSigner)
	return ok
}

// Close closes the signer, if it is an io.Closer.
func (w *Wrapped) Close() error {
	if c, ok := w.signer.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Call has the signer sign. It returns as soon as ctx is done.
func (w *Wrapped) Call(ctx context.Context, req Request) (Response, error) {
	if s, ok := w.signer.(contextSigner); ok {
		return response(signContext(ctx, s, req))
	}
	if err := w.begin(ctx); err != nil {
		return Response{}, err
	}
	op := &operation{ended: make(chan struct{})}
	req.Message = bytes.Clone(req.Message) // the caller may go, and use it again
	go func() {
		defer close(op.ended)
		defer w.end()
		op.run(w.signer, req)
	}()
	select {
	case <-op.ended:
		return response(op.result())
	case <-ctx.Done():
		return Response{}, ctx.Err()
	}
}

// begin takes a place among the operations in flight and, where they are
// serial, waits for its turn.
func (w *Wrapped) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case w.inFlight <- struct{}{}:
	default:
		return &Error{
			KeyType: keyType(w.pub),
			Reason:  fmt.Sprintf("%d operations of the wrapped signer have not returned", cap(w.inFlight)),
			Err:     turret.WithClass(ErrStuck, turret.Rejected),
		}
	}
	if w.turn == nil {
		return nil
	}
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-w.inFlight
		return ctx.Err()
	}
}

func (w *Wrapped) end() {
	if w.turn != nil {
		<-w.turn
	}
	<-w.inFlight
}

// operation is one call of a signer, in a goroutine of its own.
type operation struct {
	sig      []byte
	err      error
	panicked any
	returned bool
	ended    chan struct{}
}

// run lets no panic out: in a goroutine of ours it would end the program.
func (op *operation) run(s crypto.Signer, req Request) {
	defer func() {
		if !op.returned {
			op.panicked = recover()
		}
	}()
	op.sig, op.err = sign(s, req)
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

func response(sig []byte, err error) (Response, error) {
	if err != nil {
		return Response{}, err
	}
	return Response{Signature: sig}, nil
}
