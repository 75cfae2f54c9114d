package signertest

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
)

// publicStays looks at the public key from many goroutines, and again after a
// signature.
func (tr *trial) publicStays() {
	first := tr.signer.Public()
	look := func(when string) (err error) {
		p := recovered(func() {
			if pub := tr.signer.Public(); !samePublic(first, pub) {
				err = fmt.Errorf("method Public, called %s, returned another key than at first; a signer keeps to one key, whatever an alias points to later", when)
			}
		})
		if p != nil {
			return fmt.Errorf("method Public, called %s, panicked with %v; a signer knows its public key when it is made", when, p)
		}
		return err
	}
	if tr.reported(look("again")) || tr.reported(atOnce(func(int) error { return look("by 64 goroutines at once") })) {
		return
	}
	_, err := tr.sign(newCall(byMessage, tr.family.required[0], text(0, 130)))
	_ = tr.reported(err) || tr.reported(look("after a signature"))
}

// sizes are those of messages: of none, of a TLS 1.3 handshake, of all that a KMS
// takes in one request, and of more than that.
var sizes = []int{0, 1, 130, 4096, 100_000}

// signs asks for an algorithm with messages of all sizes, and by its variants.
func (tr *trial) signs(a ask) {
	for _, by := range []string{bySign, byMessage} {
		for n, size := range sizes {
			if tr.reported(tr.signsSize(newCall(by, a, text(n, size)))) {
				return
			}
		}
		if a.opts.HashFunc() != 0 {
			_, err := tr.sign(newCall(by, a, textOfZero(a.opts)))
			tr.reported(err)
		}
		for _, v := range a.variants {
			_, err := tr.sign(newCall(by, v, text(1, 130)))
			tr.reported(err)
		}
	}
	tr.reported(tr.signsSize(newCall(byMessage, a, nil)))
}

func (tr *trial) signsSize(c call) error {
	if c.ask.opts.HashFunc() == 0 && (len(c.input) < 1 || len(c.input) > 4096) {
		return tr.signOrRefuse(c) // it goes out as it is, and a KMS takes 1 to 4,096 bytes
	}
	_, err := tr.sign(c)
	return err
}

// refusesOrSigns asks for what a signer need not have.
func (tr *trial) refusesOrSigns() {
	for _, a := range tr.family.optional {
		size := 32
		if h := a.opts.HashFunc(); h != 0 {
			size = h.Size() // the hash itself need not be linked in
		}
		tr.reported(tr.signOrRefuse(call{by: bySign, ask: a, input: text(1, size), rand: rand.Reader}))
		if h := a.opts.HashFunc(); h == 0 || h.Available() {
			tr.reported(tr.signOrRefuse(newCall(byMessage, a, text(1, 130))))
		}
	}
}

// refusesNonsense passes options that nobody means.
func (tr *trial) refusesNonsense() {
	if tr.may&MayTrustOptions != 0 {
		tr.skipped = "the signer trusts options"
		return
	}
	_, takesMessages := tr.signer.(crypto.MessageSigner) // or crypto.SignMessage itself trusts options
	for _, a := range append([]ask{{name: "nothing by nil opts"}}, tr.family.nonsense...) {
		const reason = "nobody means such options"
		tr.reported(tr.refuse(call{by: bySign, ask: a, input: text(1, 32), rand: rand.Reader}, reason))
		if takesMessages {
			tr.reported(tr.refuse(call{by: byMessage, ask: a, input: text(1, 130), rand: rand.Reader}, reason))
		}
	}
}

// refusesDigests passes digests that are none of the hash's.
func (tr *trial) refusesDigests() {
	tr.skipped = "the key signs messages"
	for _, a := range tr.family.required {
		h := a.opts.HashFunc()
		if h == 0 {
			continue
		}
		tr.skipped = ""
		for _, d := range [][]byte{nil, {}, text(1, 20), text(1, h.Size()-1), text(1, h.Size()+1), text(1, 200)} {
			c := call{by: bySign, ask: a, input: d, rand: rand.Reader}
			if tr.may&MayTrustDigests != 0 {
				tr.reported(tr.signOrRefuse(c))
			} else {
				tr.reported(tr.refuse(c, fmt.Sprintf("a %v digest has %d bytes", h, h.Size())))
			}
		}
	}
}

// takesNoNonceTwice looks at what signatures show of their nonces. Two with the same
// one give the private key away to whoever sees them.
func (tr *trial) takesNoNonceTwice() {
	if tr.family.nonce == nil {
		tr.skipped = "signatures of this key show no nonce"
		return
	}
	seen := make(map[string]bool)
	for _, a := range tr.family.required {
		for _, by := range []string{bySign, byMessage} {
			for range 4 {
				c := newCall(by, a, text(len(seen), 130)) // a message of its own
				sig, err := tr.sign(c)
				if tr.reported(err) {
					return
				}
				nonce := string(tr.family.nonce(sig))
				if seen[nonce] {
					tr.Errorf("%v returned a signature with the same nonce as that of another message; the two give the private key away: take a nonce of crypto/rand, or of the key and the message", c)
					return
				}
				seen[nonce] = true
			}
		}
	}
}

// brokenRand is a source of randomness that has none.
type brokenRand struct{}

func (brokenRand) Read([]byte) (int, error) { return 0, errors.New("signertest: no randomness") }

// bearsNoRand passes a rand that fails, or none. Who needs it returns an error.
func (tr *trial) bearsNoRand() {
	for _, a := range tr.family.required {
		for _, by := range []string{bySign, byMessage} {
			c := newCall(by, a, text(1, 130))
			c.rand, c.ask.name = brokenRand{}, a.name+" with a rand that fails"
			tr.reported(tr.signOrRefuse(c))
			if tr.may&MayPanicWithoutRand == 0 {
				c.rand, c.ask.name = nil, a.name+" with a nil rand"
				tr.reported(tr.signOrRefuse(c))
			}
		}
	}
}

// honoursContext passes contexts that have ended, and one that has not.
func (tr *trial) honoursContext() {
	if _, ok := tr.signer.(contextSigner); !ok {
		tr.skipped = "the signer has no SignContext"
		return
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	expired, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	for _, a := range tr.family.required {
		c := newCall(byContext, a, text(1, 130))
		for _, ctx := range []context.Context{canceled, expired} {
			c.ctx = ctx
			_, refusal, err := tr.do(c)
			if !tr.reported(err) && !errors.Is(refusal, ctx.Err()) {
				tr.Errorf("%v with a context that has ended, returned %v; sign nothing, and return an error in which errors.Is finds %q", c, refusal, ctx.Err())
			}
		}
		c.ctx = context.Background()
		_, err := tr.sign(c)
		tr.reported(err)
	}
}
