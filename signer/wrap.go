package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
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
	// for their turn. One more is ErrStuck, of class Rejected. 0 means 1024. It
	// does not count the operations of a *Signer, which sees to its own.
	MaxInFlight int

	// Serial makes operations one at a time, in the order of the calls, as smart
	// cards and PKCS #11 sessions need it. A worker owns the signer: one
	// goroutine makes all its operations, and closes it. Calls wait for their
	// turn, and one whose caller has gone is skipped. The worker starts with the
	// first operation and ends with Close. See package buffer.
	//
	// The wait for a turn is a part of the attempt. To a short timeout of attempts,
	// such as that of Defaults, a long queue is therefore a key that hangs; a
	// Builder.Concurrency with a Max of 1, above that timeout, has calls wait there.
	Serial bool

	// HungAfter is how long an operation may take; the time that it waits for
	// its turn does not count. One that has not returned by then hangs, and the
	// signer is given up with it: that call, those that wait, those under way
	// and all later ones are ErrHung, of class Transient. It is for signers that
	// can be opened again: see [Reconnect]. Shorter than the stack's timeout of an
	// attempt, it leaves the call that hangs time for the new one. 0 waits for
	// ever. It is not for a *Signer, which has its own Timeout.
	HungAfter time.Duration

	// MapError, if set, converts the signer's errors, as to classify them:
	//
	//	MapError: func(err error) error {
	//		if errors.Is(err, vendor.ErrKeyDisabled) {
	//			return turret.WithClass(err, turret.Permanent)
	//		}
	//		return err
	//	}
	//
	// It is not asked about what is this package's own: ErrStuck, ErrHung and
	// ErrClosed. Where it returns nil, the error stays as it was.
	MapError func(error) error
}

// Validate says what is wrong with o, if anything is.
func (o WrapOptions) Validate() error {
	switch {
	case o.MaxInFlight < 0:
		return &Error{Reason: fmt.Sprintf("WrapOptions.MaxInFlight is %d; it must be at least 1, or 0 for the default of 1024", o.MaxInFlight)}
	case o.HungAfter < 0:
		return &Error{Reason: fmt.Sprintf("WrapOptions.HungAfter is %v; it must be above zero, or 0 to wait for ever", o.HungAfter)}
	}
	return nil
}

// Wrap makes a [Key] of any crypto.Signer: PKCS #11, a TPM, another vendor's KMS
// or a key in memory. It panics if s is nil or o is invalid.
//
// A crypto.Signer knows no context. Each operation therefore runs in a goroutine
// of its own, and a caller whose context ends goes at once, leaving it behind; o
// bounds how many there can be. What an operation left behind returns goes to
// nobody. A panic of s comes up in the caller, unless that has gone, with its value.
// The stack of that goroutine is printed where the panic ends the program; who
// recovers it, as Builder.Recover does, gets the caller's.
//
// A signer with a method SignContext, like [Signer.SignContext], is called
// through that, and a *Signer without a goroutine. A crypto.MessageSigner gets
// the whole message where there is one.
//
// A signer may have a method Algorithms() []Algorithm. Without one it is taken to
// sign what a KMS pairs with its public key; an ECDSA key in memory, any hash.
//
// Errors of s pass unchanged. They are of class Unknown, and retried, unless they
// have a method Class() turret.Class, or o.MapError classifies them.
func Wrap(s crypto.Signer, o WrapOptions) *Wrapped {
	if isNil(s) {
		panic(&Error{Reason: "Wrap needs a crypto.Signer; it was given nil"})
	}
	if err := o.Validate(); err != nil {
		panic(err)
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 1024
	}
	w := &Wrapped{signer: s, pub: s.Public(), options: o}
	if o.Serial {
		w.operations = newSerial(s, o)
	} else if w.boxed, _ = s.(*Signer); w.boxed == nil {
		w.operations = newConcurrent(s, o)
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
	signer     crypto.Signer
	pub        crypto.PublicKey
	options    WrapOptions
	boxed      *Signer    // signer, where it is one and not serial
	operations operations // how the others operate
}

// operations makes a signer's operations, and closes it after the last.
type operations interface {
	turret.Service[Request, *operation]
	turret.Readier
	shutdown(context.Context) error
}

var (
	_ Key         = (*Wrapped)(nil)
	_ KeyProvider = (*Wrapped)(nil)
)

// Public returns the signer's public key, which is asked for once.
func (w *Wrapped) Public() crypto.PublicKey { return w.pub }

// ProvideKey returns w.
func (w *Wrapped) ProvideKey(context.Context) (Key, error) { return w, nil }

// Algorithms returns what the signer signs with; see [Wrap].
func (w *Wrapped) Algorithms() []Algorithm {
	switch s := w.signer.(type) {
	case lister:
		return s.Algorithms()
	case *ecdsa.PrivateKey:
		return ecdsaFamily.algorithms // a key in memory does not keep to its curve's hash
	}
	return paired(w.pub)
}

func (w *Wrapped) String() string { return fmt.Sprintf("%T", w.signer) }

func (w *Wrapped) takesMessages() bool {
	_, ok := w.signer.(crypto.MessageSigner)
	return ok
}

// Ready tells whether there is room for an operation, as [turret.Readier] has it.
func (w *Wrapped) Ready() error {
	if w.boxed != nil {
		return turret.Ready(w.boxed)
	}
	return w.explain(w.operations.Ready())
}

// closePatience is how long Close waits for an operation that does not return.
const closePatience = 5 * time.Second

// Close refuses further operations, with ErrClosed, and closes the signer, if it
// is an io.Closer, when those under way have returned. It waits for them for
// five seconds at most, and not at all if the signer was given up as hanging; it
// is closed all the same when they do return. Closing again does nothing.
func (w *Wrapped) Close() error {
	if w.boxed != nil {
		return w.boxed.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	hung := errors.Is(w.Ready(), ErrHung)
	if hung {
		cancel()
	}
	err := w.shutdown(ctx)
	switch {
	case err == nil || hung && errors.Is(err, context.Canceled): // who called it knows
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{KeyType: keyType(w.pub), Reason: fmt.Sprintf("an operation of the wrapped signer has not returned within %v; the signer is closed when it does", closePatience), Err: err}
	}
	return &Error{KeyType: keyType(w.pub), Reason: "closing the wrapped signer", Err: err}
}

// shutdown is Close with the patience of ctx.
func (w *Wrapped) shutdown(ctx context.Context) error {
	if w.boxed != nil {
		return w.boxed.Close()
	}
	return w.operations.shutdown(ctx)
}

// Call has the signer sign. It returns as soon as ctx is done.
func (w *Wrapped) Call(ctx context.Context, req Request) (Response, error) {
	if w.boxed != nil {
		return w.response(sign(w.boxed.WithContext(ctx), req))
	}
	req.Message = bytes.Clone(req.Message) // the caller may go, and use it again
	op, err := w.operations.Call(ctx, req)
	if err != nil {
		return Response{}, w.explain(err)
	}
	return w.response(op.result())
}

// explain says of a refusal what it means here.
func (w *Wrapped) explain(err error) error {
	switch {
	case errors.Is(err, ErrHung):
		return &Error{
			KeyType: keyType(w.pub),
			Reason:  fmt.Sprintf("an operation of the wrapped signer has not returned within %v, and it was given up", w.options.HungAfter),
			Err:     turret.WithClass(ErrHung, turret.Transient),
		}
	case errors.Is(err, buffer.ErrFull):
		return &Error{
			KeyType: keyType(w.pub),
			Reason:  fmt.Sprintf("%d operations of the wrapped signer have not returned", w.options.MaxInFlight),
			Err:     turret.WithClass(ErrStuck, turret.Rejected),
		}
	case errors.Is(err, buffer.ErrClosed) && turret.Classify(err) == turret.Transient:
		return &Error{KeyType: keyType(w.pub), Reason: "the worker of the wrapped signer has died", Err: err}
	case errors.Is(err, buffer.ErrClosed):
		return &Error{
			KeyType: keyType(w.pub),
			Reason:  closedWhile(err),
			Err:     turret.WithClass(fmt.Errorf("%w: %w", ErrClosed, err), turret.Permanent),
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled): // the caller's
		return &Error{KeyType: keyType(w.pub), Reason: fmt.Sprintf("the wrapped signer (%s) had not answered", keyType(w.pub)), Err: err}
	}
	return err
}

// closedWhile tells what became of an operation that a closed signer refused.
func closedWhile(err error) string {
	if closed, ok := errors.AsType[*buffer.ClosedError](err); ok && closed.UnderWay {
		return "the signature under way was not waited for"
	}
	return "nothing was signed"
}

func (w *Wrapped) response(sig []byte, err error) (Response, error) {
	if err == nil {
		return Response{Signature: sig}, nil
	}
	if w.options.MapError != nil {
		if mapped := w.options.MapError(err); mapped != nil {
			err = mapped
		}
	}
	return Response{}, err
}
