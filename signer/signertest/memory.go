package signertest

import (
	"bytes"
	"fmt"
	"sync"
)

// leavesMemoryAlone signs several messages out of one array. Who remembers the
// slice, in place of what was in it, is wrong the next time.
func (tr *trial) leavesMemoryAlone() {
	for _, a := range tr.family.required {
		for _, by := range []string{bySign, byMessage} {
			if tr.reported(tr.signReused(by, a)) {
				return
			}
		}
	}
}

func (tr *trial) signReused(by string, a ask) error {
	array := make([]byte, 256)
	for n := range 4 {
		c := newCall(by, a, text(n, 130))
		signed := bytes.Clone(c.signed())
		for i := range array {
			array[i] = byte(n)
		}
		c.input = array[:copy(array, c.input)]
		before := bytes.Clone(array)
		sig, refusal, err := tr.do(c)
		switch {
		case err != nil:
			return err
		case refusal != nil:
			return fmt.Errorf("%v returned the error %q; it had signed this before", c, refusal)
		case !bytes.Equal(array, before):
			return fmt.Errorf("%v changed the bytes that it was passed, or those behind them in the array; they are the caller's: work on a copy, append included", c)
		}
		if err := tr.verify(a.opts, signed, sig); err != nil {
			return fmt.Errorf("%v returned a signature that does not verify, with other bytes in a slice passed before: %w; a signer that remembers what it was passed keeps a copy", c, err)
		}
	}
	return nil
}

// sharesNoSignature changes signatures, and looks at the others.
func (tr *trial) sharesNoSignature() {
	for _, a := range tr.family.required {
		for _, by := range []string{bySign, byMessage} {
			if tr.reported(tr.signApart(by, a)) {
				return
			}
		}
	}
}

func (tr *trial) signApart(by string, a ask) error {
	c, other := newCall(by, a, text(0, 130)), newCall(by, a, text(1, 130))
	first, err := tr.sign(c)
	if err != nil {
		return err
	}
	kept := bytes.Clone(first)
	second, err := tr.sign(other)
	if err != nil {
		return err
	}
	if !bytes.Equal(first, kept) {
		return fmt.Errorf("%v wrote over the signature returned before; return a new slice each time", c)
	}
	clear(first)
	_ = append(first, make([]byte, 64)...)
	if err := tr.right(other, second); err != nil {
		return fmt.Errorf("%w, once its caller had appended to the signature returned before; return a new slice each time, or one with no capacity left", err)
	}
	if _, err := tr.sign(c); err != nil {
		return fmt.Errorf("%w, once its caller had changed the signature returned before of the same bytes; a signer that remembers signatures returns copies", err)
	}
	return nil
}

// keepsCallersApart has many goroutines sign at once, each its own messages.
func (tr *trial) keepsCallersApart() {
	tr.reported(atOnce(func(n int) error {
		a := tr.family.required[n%len(tr.family.required)]
		for _, by := range []string{bySign, byMessage} {
			if _, err := tr.sign(newCall(by, a, text(n, 130))); err != nil {
				return fmt.Errorf("with 64 callers at once: %w; a TLS server signs each handshake in a goroutine: what belongs to one call is no field of the signer, and callers wait where the key's holder bears no more", err)
			}
		}
		return nil
	}))
}

// atOnce makes 64 calls of f at the same time, and returns one of their errors.
func atOnce(f func(n int) error) error {
	var (
		calls sync.WaitGroup
		start = make(chan struct{})
		errs  [64]error
	)
	for n := range errs {
		calls.Go(func() {
			<-start
			errs[n] = f(n)
		})
	}
	close(start)
	calls.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
