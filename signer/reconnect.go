package signer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/reconnect"
)

// Reconnect returns a provider of keys that outlive what p opens: a session of a
// PKCS #11 token that is killed, a card that is pulled and put back, an agent
// that is started again.
//
// The key is opened through p at once, so that [Builder.Build] fails where there
// is none. When an operation breaks it, as o.Broken tells by the error, it is
// given up: the operation under way gets its error, the key is closed behind the
// back of its callers, and the next call opens it anew, with o's backoff where
// that fails. So the error is one that a Retry above acts on, which needs its
// WaitRejected to wait for the backoff as well. A key that comes back with
// another public half is closed and refused: ErrWrongKey, of class Permanent.
//
// By default, errors of class Transient and Unknown break a key. See to it that
// p's keys classify the others, as [WrapOptions].MapError does, and that they
// break when they hang: the timeout of an attempt stands above, and is to this
// one only a caller who goes. [WrapOptions].HungAfter is for that; keys that are
// not of Wrap need a time limit of their own, below.
//
// A key that answers, and wrongly, is not broken by that: signatures are verified
// above, where the retry asks again.
//
// P's ProvideKey may block, as drivers do, whatever its context. Its callers
// leave when their time is up; no other opening begins before it has returned,
// and the key that it then returns is closed. Nor does one begin while 64 keys
// have broken and not come to their end, for each of them may hold a thread that
// hangs in a driver: that is ErrStuck.
//
// A [Replicated] key is refused: what breaks are its replicas, so they are what
// to put a Reconnect around.
func Reconnect(p KeyProvider, o reconnect.Options) KeyProvider {
	opener := newOpener(p)
	return KeyProviderFunc(func(ctx context.Context) (Key, error) {
		if isNil(p) {
			return nil, &Error{Reason: "Reconnect needs a key provider; it was given nil"}
		}
		if err := o.Validate(); err != nil {
			return nil, &Error{Reason: "Reconnect", Err: turret.WithClass(err, turret.Permanent)}
		}
		first, err := opener.open(ctx)
		if err != nil {
			return nil, err
		}
		return newReconnecting(opener, first, o), nil
	})
}

// reconnecting is a key that is opened again when it broke.
type reconnecting struct {
	service Service // reconnect's
	opener  *opener
	first   atomic.Pointer[openKey] // until it is the service's

	pub        crypto.PublicKey
	algorithms []Algorithm
	name, id   string
	messages   bool // takesMessages
	below      []any
}

func newReconnecting(opener *opener, first *openKey, o reconnect.Options) Key {
	k := &reconnecting{
		opener:     opener,
		pub:        first.Public(),
		algorithms: algorithms(first.Key),
		name:       keyName(first.Key, 0, 1),
		id:         keyID(first.Key),
		messages:   takesMessages(first.Key),
		below:      lines(turret.Describe(first.Key)),
	}
	k.first.Store(first)
	k.service = reconnect.New(o, k.connect)
	return k
}

// connect hands over the key that was opened first, and then opens others.
func (k *reconnecting) connect(ctx context.Context) (Service, error) {
	if first := k.first.Swap(nil); first != nil {
		return first, nil
	}
	key, err := k.opener.open(ctx)
	if err != nil {
		return nil, err
	}
	if !samePublic(k.pub, key.Public()) {
		return key, &swappedError{keyType(k.pub), keyType(key.Public())} // and reconnect closes it
	}
	return key, nil
}

func (k *reconnecting) Call(ctx context.Context, req Request) (Response, error) {
	resp, err := k.service.Call(ctx, req)
	if errors.Is(err, reconnect.ErrClosed) {
		return Response{}, &Error{KeyType: keyType(k.pub), Reason: "nothing was signed", Err: turret.WithClass(fmt.Errorf("%w: %w", ErrClosed, err), turret.Permanent)}
	}
	return resp, err
}

func (k *reconnecting) Public() crypto.PublicKey { return k.pub }
func (k *reconnecting) Algorithms() []Algorithm  { return k.algorithms }
func (k *reconnecting) Name() string             { return k.name }
func (k *reconnecting) KeyID() string            { return k.id }
func (k *reconnecting) takesMessages() bool      { return k.messages }
func (k *reconnecting) Ready() error             { return turret.Ready(k.service) }
func (k *reconnecting) String() string           { return turret.Describe(k.service) }

// Unwrap shows what the key was when it was opened first. The keys themselves
// come and go.
func (k *reconnecting) Unwrap() []any { return k.below }

func (k *reconnecting) Close() error {
	err := turret.Close(k.service) // which from then on takes no first key
	if first := k.first.Swap(nil); first != nil {
		err = errors.Join(err, first.Close())
	}
	return err
}

// swappedError is the ErrWrongKey of a key that was opened again.
type swappedError struct{ was, is string }

func (e *swappedError) Error() string {
	return fmt.Sprintf("signer: the key that was opened again, of type %s, has another public half than the %s key that was opened first; it was closed, and nothing was signed", e.is, e.was)
}

func (e *swappedError) Is(target error) bool { return target == ErrWrongKey }
func (e *swappedError) Class() turret.Class  { return turret.Permanent }

// lines are the lines of a Describe as services that do nothing but say them.
func lines(text string) []any {
	var below []any
	for _, l := range slices.Backward(strings.Split(text, "\n")) {
		below = []any{line{l, below}}
	}
	return below
}

type line struct {
	text  string
	below []any
}

func (l line) String() string { return l.text }
func (l line) Unwrap() []any  { return l.below }
