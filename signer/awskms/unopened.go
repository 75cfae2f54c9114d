package awskms

import (
	"context"
	"crypto"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// unopened is a key in a Region that could not be opened when the others were. The
// first call opens it.
type unopened struct {
	*provider
	like signer.Key // the same key, in a Region that answered

	opened atomic.Pointer[signer.Key]
	turn   chan struct{} // held by who opens

	mu      sync.Mutex
	refusal error // why it is not to be used
	since   time.Time
}

var _ signer.Key = (*unopened)(nil)

func newUnopened(p *provider, like signer.Key) *unopened {
	return &unopened{provider: p, like: like, turn: make(chan struct{}, 1)}
}

func (u *unopened) Public() crypto.PublicKey { return u.like.Public() }

func (u *unopened) Algorithms() []signer.Algorithm { return u.like.(*key).Algorithms() }

// Name is what the key's will be, or "" if its client does not tell its Region.
func (u *unopened) Name() string {
	if region := regionOf(u.client); region != "" {
		return "kms/" + region
	}
	return ""
}

func (u *unopened) String() string {
	if k := u.opened.Load(); k != nil {
		return fmt.Sprint(*k)
	}
	return "AWS KMS " + u.keyID + ", to be opened"
}

// Ready is why the key was found not to be of use, a short while ago.
func (u *unopened) Ready() error { return u.recent() }

// Call opens the key if need be, and asks it for a signature.
func (u *unopened) Call(ctx context.Context, req signer.Request) (signer.Response, error) {
	k, err := u.open(ctx)
	if err != nil {
		return signer.Response{}, err
	}
	return k.Call(ctx, req)
}

// open returns the key. One caller at a time asks for it; the others wait.
func (u *unopened) open(ctx context.Context) (signer.Key, error) {
	if k := u.opened.Load(); k != nil {
		return *k, nil
	}
	select {
	case u.turn <- struct{}{}:
		defer func() { <-u.turn }()
	case <-ctx.Done():
		return nil, &signer.Error{KeyID: u.keyID, Reason: fmt.Sprintf("the key in %s was still being opened", u.place()), Err: ctx.Err()}
	}
	if k := u.opened.Load(); k != nil {
		return *k, nil
	}
	if err := u.recent(); err != nil {
		return nil, err
	}
	k, err := u.ask(ctx)
	u.remember(err)
	if err != nil {
		return nil, err
	}
	u.opened.Store(&k)
	return k, nil
}

// ask asks KMS for the key. What will not do now will not do in a moment either,
// and says nothing of what is to be signed: it is for another Region to do.
func (u *unopened) ask(ctx context.Context) (signer.Key, error) {
	k, err := u.ProvideKey(ctx)
	if err == nil {
		_, err = signer.Replicate(u.like, k)
	}
	if turret.Classify(err) == turret.Permanent {
		return nil, &signer.Error{
			KeyID:  u.keyID,
			Reason: fmt.Sprintf("the key in %s is not to be used", u.place()),
			Err:    turret.WithClass(err, turret.Rejected),
		}
	}
	return k, err
}

// pause is how long a refusal holds.
const pause = 10 * time.Second

func (u *unopened) recent() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(u.since) < pause {
		return u.refusal
	}
	return nil
}

func (u *unopened) remember(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refusal, u.since = nil, time.Now()
	if turret.Classify(err) == turret.Rejected {
		u.refusal = err
	}
}
