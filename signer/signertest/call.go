package signertest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
)

// The methods that sign.
const (
	bySign    = "Sign"
	byMessage = "SignMessage"
	byContext = "SignContext"
)

// contextSigner is a crypto.Signer that takes a context, as *signer.Signer does.
type contextSigner interface {
	SignContext(ctx context.Context, rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// call is one call of a signer.
type call struct {
	by    string // the method
	ask   ask
	input []byte // a digest, or a message
	rand  io.Reader
	ctx   context.Context // of SignContext
}

// newCall returns a call that signs a message, of which it makes the digest where
// the method takes one.
func newCall(by string, a ask, message []byte) call {
	c := call{by: by, ask: a, input: message, rand: rand.Reader}
	if by != byMessage {
		c.input = digestOf(message, a.opts)
	}
	return c
}

func (c call) String() string { return c.by + ", asked for " + c.ask.name + "," }

// signed is what the signature is to be one of.
func (c call) signed() []byte {
	if c.by == byMessage {
		return digestOf(c.input, c.ask.opts)
	}
	return c.input
}

// withCopy returns the call with an input that the signer may change: a check of
// its own tells whether it does.
func (c call) withCopy() call {
	c.input = bytes.Clone(c.input)
	return c
}

// digestOf returns the digest of a message that opts ask for, or the message.
func digestOf(message []byte, opts crypto.SignerOpts) []byte {
	if opts.HashFunc() == 0 {
		return message
	}
	h := opts.HashFunc().New()
	h.Write(message)
	return h.Sum(nil)
}

// text returns so many bytes, which tell n if they are ten. They are no text to
// who takes them for it: a NUL, no UTF-8, and at the end of 130 a space and a line.
func text(n, size int) []byte {
	unit := fmt.Appendf(nil, "\x00\xff%08d \r\n", n)
	return bytes.Repeat(unit, size/len(unit)+1)[:size]
}

// textOfZero returns a message whose digest, which it must have, begins with a zero.
func textOfZero(opts crypto.SignerOpts) []byte {
	for n := 0; ; n++ {
		if message := text(n, 130); digestOf(message, opts)[0] == 0 {
			return message
		}
	}
}

// do makes a call, and returns an error unless it returned either a signature or
// an error, which is refusal then, and left the options alone.
func (tr *trial) do(c call) (sig []byte, refusal, err error) {
	asked, isPSS := c.ask.opts.(*rsa.PSSOptions)
	isPSS = isPSS && asked != nil
	var before rsa.PSSOptions
	if isPSS {
		before = *asked
	}
	p := recovered(func() {
		switch c.by {
		case bySign:
			sig, refusal = tr.signer.Sign(c.rand, c.input, c.ask.opts)
		case byMessage:
			sig, refusal = crypto.SignMessage(tr.signer, c.rand, c.input, c.ask.opts)
		case byContext:
			sig, refusal = tr.signer.(contextSigner).SignContext(c.ctx, c.rand, c.input, c.ask.opts)
		}
	})
	switch {
	case p != nil:
		err = fmt.Errorf("%v panicked with %v; return an error: a panic ends the program that holds the key", c, p)
	case isPSS && *asked != before:
		err = fmt.Errorf("%v changed the options that it was passed; they are the caller's, who may use them in several goroutines: work on a copy", c)
	case refusal == nil && len(sig) == 0:
		err = fmt.Errorf("%v returned neither a signature nor an error; return an error, or an empty signature gets sent", c)
	case refusal != nil && len(sig) > 0:
		err = fmt.Errorf("%v returned the error %q and a signature of %d bytes; return nil with an error", c, refusal, len(sig))
	}
	return sig, refusal, err
}

// sign makes a call that has to succeed.
func (tr *trial) sign(c call) ([]byte, error) {
	sig, refusal, err := tr.do(c.withCopy())
	switch {
	case err != nil:
		return nil, err
	case refusal != nil:
		return nil, fmt.Errorf("%v for %d bytes, returned the error %q; a signer of an %s key has to sign that, unless it has a method Algorithms() []signer.Algorithm that lists others", c, len(c.input), refusal, tr.family.name)
	}
	return sig, tr.right(c, sig)
}

// signOrRefuse makes a call that may end with an error, but not with a wrong
// signature.
func (tr *trial) signOrRefuse(c call) error {
	sig, refusal, err := tr.do(c.withCopy())
	if err != nil || refusal != nil {
		return err
	}
	return tr.right(c, sig)
}

// refuse makes a call that must not succeed, for the reason given.
func (tr *trial) refuse(c call, reason string) error {
	_, refusal, err := tr.do(c)
	if err == nil && refusal == nil {
		return fmt.Errorf("%v signed %d bytes; return an error: %s", c, len(c.input), reason)
	}
	return err
}

// right returns an error unless sig is the signature that a call asked for.
func (tr *trial) right(c call, sig []byte) error {
	if err := tr.verify(c.ask.opts, c.signed(), sig); err != nil {
		return fmt.Errorf("%v returned a signature that does not verify: %w", c, err)
	}
	return nil
}

// verify is the family's, with an eye for a common mistake.
func (tr *trial) verify(opts crypto.SignerOpts, signed, sig []byte) error {
	err := tr.family.verify(opts, signed, sig)
	if h := opts.HashFunc(); err != nil && h.Available() && tr.family.verify(opts, digestOf(signed, opts), sig) == nil {
		return errors.New("it is one of the digest's digest; Sign gets a digest, and signs it as it is")
	}
	return err
}
