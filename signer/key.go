package signer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"reflect"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/turretgo/turret"
)

// Request asks for a signature. A layer may change it to another that a Signer
// could make of the same key; anything else ends below the layers, as an [*Error].
type Request struct {
	Algorithm   Algorithm
	MessageType MessageType
	Message     []byte // the digest, or the whole message
}

// Response is a signature.
type Response struct {
	Signature []byte // as Go's verifiers take it: ASN.1 for ECDSA, PKCS #1 for RSA, raw for Ed25519 and ML-DSA
	KeyID     string // which key signed, as its holder names it: for AWS, the ARN
}

// Service signs. [Layer] wraps one in another.
type (
	Service = turret.Service[Request, Response]
	Layer   = turret.Layer[Request, Response]
)

// Key is a private key held elsewhere: it signs, and its public half is known
// here.
//
// A Key is safe for concurrent use. Its Call returns soon after its context is
// done, and keeps no reference to the request's Message after it returned. Its
// errors carry a [turret.Class], by which the layers above act on them; the
// context's own errors are left as they are.
//
// A Key may also have
//
//	Algorithms() []Algorithm // what it signs with; the default is what a KMS pairs with its public key
//	Name() string            // what Describe, errors and breakers call it among replicas
//	KeyID() string           // which key it is, for the errors of a Signer; for AWS, the ARN
//	Ready() error            // see turret.Readier
//	Close() error            // gives back what it holds; called by Signer.Close
type Key interface {
	Service
	// Public returns the public half: always the same one, never nil, and
	// without any I/O.
	Public() crypto.PublicKey
}

// KeyProvider finds a key, over the network if need be. [Builder.Build] calls it
// once, and again when it fails with an error that may pass.
type KeyProvider interface {
	// ProvideKey returns the key, or an error that says which key was looked for
	// and carries a [turret.Class]. It returns soon after ctx is done.
	ProvideKey(ctx context.Context) (Key, error)
}

// KeyProviderFunc is a function as a [KeyProvider].
type KeyProviderFunc func(ctx context.Context) (Key, error)

// ProvideKey calls f.
func (f KeyProviderFunc) ProvideKey(ctx context.Context) (Key, error) { return f(ctx) }

// Replicated is one key in several places, such as a multi-Region key of AWS.
type Replicated interface {
	Key
	// Replicas returns the key of each place, in order of preference. There is
	// at least one, and all have the same public half.
	Replicas() []Key
}

// Replicate makes one key of several that have the same public half, in order
// of preference. A stack fans out to them at [Builder.Failover] or
// [Builder.Balance]; called itself, the key it returns asks the first.
//
// Replicate of no key, or of keys that differ, is an [*Error].
func Replicate(keys ...Key) (Key, error) {
	if len(keys) == 0 {
		return nil, &Error{Reason: "Replicate needs at least one key; it was given none"}
	}
	var replicas []Key
	for _, k := range keys {
		if r, ok := k.(Replicated); ok {
			replicas = append(replicas, r.Replicas()...)
		} else {
			replicas = append(replicas, k)
		}
	}
	if err := checkReplicas(replicas); err != nil {
		return nil, err
	}
	return &replicated{replicas[0], replicas}, nil
}

// checkReplicas returns an error unless keys are one key in several places.
func checkReplicas(keys []Key) error {
	for i, k := range keys {
		if err := checkKey(k); err != nil {
			return fmt.Errorf("replica %d: %w", i+1, err)
		}
		if !samePublic(keys[0].Public(), k.Public()) {
			return &Error{
				KeyType: keyType(keys[0].Public()),
				Reason:  fmt.Sprintf("replica %d (%s) has another public half than the first (%s); replicas are the same key in several places", i+1, keyName(k, i, len(keys)), keyName(keys[0], 0, len(keys))),
			}
		}
	}
	return nil
}

type replicated struct {
	Key
	keys []Key
}

func (r *replicated) Replicas() []Key { return r.keys }

// Algorithms are the first replica's, whose fellows are the same key.
func (r *replicated) Algorithms() []Algorithm { return algorithms(r.Key) }
func (r *replicated) takesMessages() bool     { return takesMessages(r.Key) }

// KeyID is the first replica's.
func (r *replicated) KeyID() string { return keyID(r.Key) }

// checkKey returns an error if k breaks a Key's contract at first sight.
func checkKey(k Key) error {
	if isNil(k) {
		return &Error{Reason: "the key is nil; a KeyProvider returns a key or an error"}
	}
	return checkPublic(k.Public())
}

// checkPublic returns an error if pub is not a public key that is supported.
func checkPublic(pub crypto.PublicKey) error {
	if pub == nil {
		return &Error{Reason: "the key has no public half; Public must never return nil"}
	}
	if keyType(pub) == "" {
		return &Error{Reason: fmt.Sprintf("public key of type %T is malformed or not supported; RSA of 1024 bits or more, ECDSA on P-256, P-384, P-521 and secp256k1 (as decred's *secp256k1.PublicKey), Ed25519, and ML-DSA (as filippo.io's *mldsa.PublicKey) are", pub)}
	}
	return nil
}

// isNil reports whether v is nil, or a nil pointer or function in an interface.
func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return r.IsNil()
	}
	return false
}

func samePublic(a, b crypto.PublicKey) bool {
	if isNil(a) || isNil(b) {
		return false
	}
	if a, ok := a.(*secp256k1.PublicKey); ok { // which has no Equal
		b, ok := b.(*secp256k1.PublicKey)
		return ok && a.IsEqual(b)
	}
	eq, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && eq.Equal(b)
}

// keyName is what the i-th of n replicas is called. An only key that has no name
// needs none.
func keyName(k Key, i, n int) string {
	if named, ok := k.(interface{ Name() string }); ok && named.Name() != "" {
		return named.Name()
	}
	if n == 1 {
		return ""
	}
	return fmt.Sprintf("replica %d", i+1)
}

// keyID is which key k is, or "" if it does not tell.
func keyID(k Key) string {
	if identified, ok := k.(interface{ KeyID() string }); ok {
		return identified.KeyID()
	}
	return ""
}

// takesMessages reports whether k wants the whole message, and hashes by itself.
func takesMessages(k Key) bool {
	m, ok := k.(interface{ takesMessages() bool })
	return ok && m.takesMessages()
}

// What errors.Is finds in the errors of keys that misbehave.
var (
	// ErrBadSignature: the signature that came back does not verify. Its class
	// is Transient, for the key may do better the next time.
	ErrBadSignature = errors.New("signature does not verify")

	// ErrWrongKey: another key signed than the one that was opened. Its class is
	// Permanent.
	ErrWrongKey = errors.New("signed by another key")

	// ErrClosed: the signer was closed. Its class is Permanent.
	ErrClosed = errors.New("the signer is closed")

	// ErrStuck: too many operations of a wrapped signer have not returned. Its
	// class is Rejected.
	ErrStuck = errors.New("too many operations under way")
)
