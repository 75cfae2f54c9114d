package signer

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/buffer"
)

// WrapOptions say what a wrapped signer can bear. The zero WrapOptions suit one
// that is safe for concurrent use.
type WrapOptions struct {
	// MaxInFlight bounds the operations that have not returned: those under way,
	// those left behind by callers who gave up and, with Serial, those that wait
	// for their turn. One more is ErrStuck, of class Rejected. 0 means 1024.
	MaxInFlight int

	// Serial makes operations one at a time, in the order of the calls, as smart
	// cards and PKCS #11 sessions need it. A worker owns the signer: one
	// goroutine makes all its operations, and closes it. Calls wait for their
	// turn, and one whose caller has gone is skipped. The worker starts with the
	// first operation and ends with Close. See package buffer.
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
	w := &Wrapped{signer: s, pub: s.Public(), maxInFlight: o.MaxInFlight}
	w.contextual, _ = s.(contextSigner)
	if o.Serial {
		w.worker = buffer.New(operator{s}, serialOptions(o))
		w.operations = w.worker
	} else {
		w.operations = &concurrent{operator{s}, make(chan struct{}, o.MaxInFlight)}
	}
	return w
}

func serialOptions(o WrapOptions) buffer.Options {
	if o.MaxInFlight == 1 {
		return buffer.Options{Capacity: buffer.NoQueue}
	}
	return buffer.Options{Capacity: o.MaxInFlight - 1} // and one at the worker
}

// Wrapped is a crypto.Signer as a [Key], and as the [KeyProvider] of itself.
type Wrapped struct {
	signer      crypto.Signer
	contextual  contextSigner // signer, if it takes contexts
	pub         crypto.PublicKey
	maxInFlight int
	operations  turret.Service[Request, *operation]
	worker      *buffer.Buffer[Request, *operation] // operations, where they are serial
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

// Ready tells whether there is room for an operation. It is part of
// turret.Readier.
func (w *Wrapped) Ready() error { return w.explain(turret.Ready(w.operations)) }

// closePatience is how long Close waits for an operation that does not return.
const closePatience = 5 * time.Second

// Close closes the signer, if it is an io.Closer. A serial one it closes after the
// operations that were asked for, for which it waits five seconds at most.
func (w *Wrapped) Close() error {
	if w.worker == nil {
		return operator{w.signer}.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return w.worker.Shutdown(ctx)
}

// Call has the signer sign. It returns as soon as ctx is done.
func (w *Wrapped) Call(ctx context.Context, req Request) (Response, error) {
	if w.contextual != nil && w.worker == nil {
		return response(signContext(ctx, w.contextual, req))
	}
	req.Message = bytes.Clone(req.Message) // the caller may go, and use it again
	op, err := w.operations.Call(ctx, req)
	if err != nil {
		return Response{}, w.explain(err)
	}
	return response(op.result())
}

// explain says of a refusal for want of room what that means here.
func (w *Wrapped) explain(err error) error {
	if !errors.Is(err, errFull) && !errors.Is(err, buffer.ErrFull) {
		return err
	}
	return &Error{
		KeyType: keyType(w.pub),
		Reason:  fmt.Sprintf("%d operations of the wrapped signer have not returned", w.maxInFlight),
		Err:     turret.WithClass(ErrStuck, turret.Rejected),
	}
}

func response(sig []byte, err error) (Response, error) {
	if err != nil {
		return Response{}, err
	}
	return Response{Signature: sig}, nil
}
