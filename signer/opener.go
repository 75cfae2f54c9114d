package signer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/turretgo/turret"
)

// maxUnclosed is how many keys of an opener may be open, or closing.
const maxUnclosed = 64

// openGrace is how long an opening is waited for after its context ended: one that
// keeps to its contract returns, with an error that says more.
const openGrace = 100 * time.Millisecond

// opener opens keys of a provider that may block: one at a time, and so many at
// most.
type opener struct {
	provider KeyProvider
	turn     chan struct{} // held by an opening until it has returned
	unclosed chan struct{} // an element for each key until its end
}

func newOpener(p KeyProvider) *opener {
	return &opener{p, make(chan struct{}, 1), make(chan struct{}, maxUnclosed)}
}

// open opens a key, and returns soon after ctx is done.
func (o *opener) open(ctx context.Context) (*openKey, error) {
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, &Error{Reason: "the key was not opened, for an earlier opening has not returned", Err: ctx.Err()}
	}
	select {
	case o.unclosed <- struct{}{}:
	default:
		<-o.turn
		return nil, &Error{Reason: fmt.Sprintf("the key was not opened, for %d that broke have not come to their end", maxUnclosed), Err: turret.WithClass(ErrStuck, turret.Rejected)}
	}
	opened, left := make(chan opening), make(chan struct{})
	go func() {
		defer func() { <-o.turn }()
		result := opening{err: &Error{Reason: "the provider of the key ended its goroutine", Err: errNoKey}}
		defer func() { // also after a Goexit
			select {
			case opened <- result:
			case <-left:
				result.discard()
			}
		}()
		result = o.provide(ctx)
	}()
	select {
	case result := <-opened:
		return result.key, result.err
	case <-ctx.Done():
	}
	select {
	case result := <-opened:
		return result.key, result.err
	case <-time.After(openGrace):
		close(left)
		return nil, &Error{Reason: "the key was not opened in time", Err: ctx.Err()}
	}
}

// opening is what came of one.
type opening struct {
	key *openKey
	err error
}

// discard closes a key for which its caller has not waited. Of what that says,
// or panics with, there is nobody to be told.
func (o opening) discard() {
	defer func() { _ = recover() }()
	if o.key != nil {
		_ = o.key.Close()
	}
}

// provide asks the provider. A panic is an error: in a goroutine of ours, it
// would end the program.
func (o *opener) provide(ctx context.Context) (result opening) {
	defer func() {
		if p := recover(); p != nil {
			result = opening{err: &Error{Reason: fmt.Sprintf("the provider of the key panicked: %v", p), Err: errNoKey}}
		}
		if result.key == nil { // also after a Goexit
			<-o.unclosed
		}
	}()
	key, err := o.provider.ProvideKey(ctx)
	if err == nil {
		err = checkSingle(key)
	}
	if err == nil {
		return opening{key: &openKey{Key: key, opener: o}}
	}
	if !isNil(key) {
		_ = turret.Close(key)
	}
	return opening{err: err}
}

// errNoKey is of class Unknown: it was nobody's intention.
var errNoKey = errors.New("no key was opened")

// checkSingle returns an error unless k is a key, and one that breaks as a whole.
func checkSingle(k Key) error {
	if err := checkKey(k); err != nil {
		return err
	}
	if _, ok := k.(Replicated); ok {
		return &Error{KeyType: keyType(k.Public()), Reason: "Reconnect was given a replicated key; put a Reconnect around the provider of each replica, and Replicate around their keys"}
	}
	return nil
}

// openKey is a key that an opener opened.
type openKey struct {
	Key
	opener   *opener
	closing  sync.Once
	closeErr error
}

// Close closes the key. What is left of it then, such as an operation that does
// not return, counts until its end.
func (k *openKey) Close() error {
	k.closing.Do(func() {
		defer func() { go k.end() }() // also after a panic
		k.closeErr = turret.Close(k.Key)
	})
	return k.closeErr
}

// end waits until nothing is left of a closed key. [Wrapped.Close] waits for so
// long only.
func (k *openKey) end() {
	if s, ok := k.Key.(interface{ shutdown(context.Context) error }); ok {
		_ = s.shutdown(context.Background())
	}
	<-k.opener.unclosed
}

// Unwrap shows the key to turret.Ready.
func (k *openKey) Unwrap() []any { return []any{turret.Owned(k.Key)} }
