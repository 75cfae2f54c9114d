package signer

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/stats"
)

// Signer is a key and the stack around it, as a [crypto.Signer]. [Builder.Build]
// makes one. It is safe for concurrent use. The zero Signer has no key: signing is
// an [*Error].
//
// Its errors are an [*Error] for what the key cannot do, which no key service
// sees, and otherwise those of the stack, in an [*Error] where they do not say by
// themselves which key it is: [turret.Outcome] tells what they mean.
// [turret.Describe], [turret.Ready] and [turret.Close] work on it.
type Signer struct {
	*stack
	ctx context.Context // of calls that bring none
}

// stack is what the copies of a Signer share.
type stack struct {
	resolver
	service       Service
	calls         *stats.Recorder
	below         []any
	wantsMessages bool // the key hashes by itself

	closed   atomic.Bool
	close    sync.Once
	closeErr error
}

var (
	_ crypto.Signer        = (*Signer)(nil)
	_ crypto.MessageSigner = (*Signer)(nil)
)

// Public returns the public key: at once, never nil, and never by the network.
func (s *Signer) Public() crypto.PublicKey {
	if s.stack == nil {
		return nil
	}
	return s.pub
}

// Algorithms returns what the key signs with; [Algorithm.SignerOpts] are the
// options that ask for one.
func (s *Signer) Algorithms() []Algorithm {
	if s.stack == nil {
		return nil
	}
	return slices.Clone(s.algorithms)
}

// resolve is that of the resolver, which the zero Signer does not have.
func (s *stack) resolve(opts crypto.SignerOpts) (Algorithm, error) {
	if s == nil {
		return "", notBuilt()
	}
	return s.resolver.resolve(opts)
}

func notBuilt() error {
	return &Error{Reason: "the Signer has no key, for it was not built; NewBuilder(…).Build makes one"}
}

// Sign signs a digest that was made with opts.HashFunc, or, with an Ed25519 or
// ML-DSA key and crypto.Hash(0), a message. Opts are a crypto.Hash, or an
// *rsa.PSSOptions whose salt is as long as the hash, or left to the signer. Rand
// is not used: the key's holder has its own.
//
// Its time is bounded by the stack, and by the context that [Signer.WithContext]
// bound s to.
func (s *Signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.SignContext(s.ctx, rand, digest, opts)
}

// SignContext is Sign with a context, in place of any that s is bound to. It
// returns soon after ctx is done.
func (s *Signer) SignContext(ctx context.Context, _ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	a, err := s.resolve(opts)
	if err != nil {
		return nil, err
	}
	if a.Hash() == 0 {
		return s.sign(ctx, a, Raw, digest)
	}
	return s.sign(ctx, a, Digest, digest)
}

// SignMessage signs a message, of which it makes the digest with opts.HashFunc
// unless that is 0. It makes Signer a [crypto.MessageSigner].
func (s *Signer) SignMessage(_ io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	a, err := s.resolve(opts)
	if err != nil {
		return nil, err
	}
	if a.Hash() == 0 || s.wantsMessages {
		return s.sign(s.ctx, a, Raw, msg)
	}
	h := a.Hash().New()
	h.Write(msg)
	return s.sign(s.ctx, a, Digest, h.Sum(nil))
}

func (s *Signer) sign(ctx context.Context, a Algorithm, t MessageType, message []byte) ([]byte, error) {
	req, err := s.request(a, t, message)
	if err != nil {
		return nil, err
	}
	if s.closed.Load() {
		return nil, s.failed(a, "nothing was signed", turret.WithClass(ErrClosed, turret.Permanent))
	}
	if ctx == nil {
		ctx = context.Background()
	}
	if ctx.Err() != nil {
		return nil, s.failed(a, "nothing was signed, for the context had ended before", turret.WithClass(ended(ctx), turret.Canceled))
	}
	// The caller may use its slice again while a layer still has a call under way.
	req.Message = bytes.Clone(req.Message)
	resp, err := s.service.Call(ctx, req)
	if err != nil {
		return nil, s.identified(a, err)
	}
	return resp.Signature, nil
}

// identified is err, with the key's id where it has none: many a layer that
// refuses a call knows nothing of keys, and a process may have several.
func (s *Signer) identified(a Algorithm, err error) error {
	var named *Error
	if s.keyID == "" || errors.As(err, &named) && named.KeyID != "" {
		return err
	}
	return s.failed(a, "nothing was signed", err)
}

func (s *Signer) failed(a Algorithm, reason string, err error) error {
	return &Error{KeyID: s.keyID, KeyType: s.keyType, Algorithm: a, Reason: reason, Err: err}
}

// WithContext returns a copy of s bound to ctx, which ends what the copy's Sign
// and SignMessage are doing: the context of one TLS handshake, say, or of one
// HTTP request. The copy shares the stack with s.
func (s *Signer) WithContext(ctx context.Context) *Signer { return &Signer{s.stack, ctx} }

// ended is why ctx ended: its error, and its cause where there is another.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err()
}

// Stats returns the account of the calls that reached the stack, all copies' of s
// together: what their callers saw. Each replica's key has one of its own, of
// what the key said; see [stats.Of].
func (s *Signer) Stats() stats.Snapshot {
	if s.stack == nil {
		return stats.Snapshot{}
	}
	return s.calls.Snapshot()
}

// Close closes what the stack and the key hold, once and for all copies. From
// then on signing is ErrClosed; what is under way goes on as the key lets it.
func (s *Signer) Close() error {
	if s.stack == nil {
		return nil
	}
	s.close.Do(func() {
		s.closed.Store(true)
		s.closeErr = turret.Close(s.service)
	})
	return s.closeErr
}

// Ready is ErrClosed once the signer is closed; [turret.Ready] asks the stack.
func (s *Signer) Ready() error {
	if s.stack == nil {
		return notBuilt()
	}
	if s.closed.Load() {
		return s.failed("", "nothing can be signed", turret.WithClass(ErrClosed, turret.Permanent))
	}
	return nil
}

// String is the signer's line in [turret.Describe].
func (s *Signer) String() string {
	if s.stack == nil {
		return "signer, not built"
	}
	return fmt.Sprintf("signer %s", s.keyType)
}

// Unwrap returns the stack.
func (s *Signer) Unwrap() []any {
	if s.stack == nil {
		return nil
	}
	return s.below
}
