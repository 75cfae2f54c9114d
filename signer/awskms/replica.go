package awskms

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aws/smithy-go"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// replica is a key in one of several Regions. One that could not be opened when
// the others were is opened by the first call.
type replica struct {
	*provider
	like signer.Key // the same key, in a Region that answered

	opened  atomic.Pointer[signer.Key]
	turn    chan struct{} // held by who opens
	refused atomic.Pointer[refusal]
}

// refusal is why a Region is not to be used, for a while.
type refusal struct {
	err   error
	since time.Time
}

var (
	_ signer.Key    = (*replica)(nil)
	_ turret.Stater = (*replica)(nil)
)

// newReplica returns the key in p's Region: opened, or to be opened if that is
// nil.
func newReplica(p *provider, opened, like signer.Key) *replica {
	r := &replica{provider: p, like: like, turn: make(chan struct{}, 1)}
	if opened != nil {
		r.opened.Store(&opened)
	}
	return r
}

// Public is the key's own, or that of the same key in another Region.
func (r *replica) Public() crypto.PublicKey {
	if k := r.opened.Load(); k != nil {
		return (*k).Public()
	}
	return r.like.Public()
}

func (r *replica) Algorithms() []signer.Algorithm { return r.like.(*key).Algorithms() }

// Name is that of the Region, or "" if its client does not tell it.
func (r *replica) Name() string {
	if region := regionOf(r.client); region != "" {
		return "kms/" + region
	}
	return ""
}

// KeyID is the key's ARN in the Region, or, until it is known, what it was asked for by.
func (r *replica) KeyID() string {
	if k := r.opened.Load(); k != nil {
		return (*k).(*key).arn
	}
	return r.keyID
}

func (r *replica) String() string {
	if k := r.opened.Load(); k != nil {
		return fmt.Sprint(*k)
	}
	return "AWS KMS " + r.keyID + ", to be opened"
}

// Ready is why the Region was found not to be of use, a short while ago.
func (r *replica) Ready() error { return r.recent() }

// Call asks the Region's key for a signature, and opens it first if need be.
func (r *replica) Call(ctx context.Context, req signer.Request) (signer.Response, error) {
	if err := r.recent(); err != nil {
		return signer.Response{}, err
	}
	k, err := r.open(ctx)
	if err != nil {
		return signer.Response{}, err
	}
	resp, err := k.Call(ctx, req)
	if isRegional(err) {
		err = r.refuse(err)
	}
	return resp, err
}

// open returns the key. One caller at a time asks for it; the others wait.
func (r *replica) open(ctx context.Context) (signer.Key, error) {
	if k := r.opened.Load(); k != nil {
		return *k, nil
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, &signer.Error{KeyID: r.keyID, Reason: fmt.Sprintf("the key in %s was still being opened", r.place()), Err: ctx.Err()}
	}
	if k := r.opened.Load(); k != nil {
		return *k, nil
	}
	if err := r.recent(); err != nil {
		return nil, err
	}
	k, err := r.ProvideKey(ctx)
	if err == nil {
		_, err = signer.Replicate(r.like, k)
	}
	switch {
	case err == nil:
		r.opened.Store(&k)
		return k, nil
	case turret.Classify(err) == turret.Permanent:
		return nil, r.refuse(err)
	}
	return nil, err
}

// pause is how long a refusal holds.
const pause = 10 * time.Second

// refuse takes the Region out of use for a while: what will not do now will not do
// in a moment either. It says nothing of what is to be signed, so the error is
// Transient, and a retry or a failover goes on to another Region; those of the
// calls that are not sent are Rejected.
func (r *replica) refuse(err error) error {
	said, ok := err.(*signer.Error)
	if !ok || said.Err == nil {
		said = &signer.Error{KeyID: r.keyID, Reason: "the key is not to be used", Err: err}
	}
	as := func(class turret.Class) error {
		e := *said // with all that it says already: an error within another would name the key twice
		e.Reason = fmt.Sprintf("left alone in %s for %v: %s", r.place(), pause, said.Reason)
		e.Err = turret.WithClass(said.Err, class)
		return &e
	}
	r.refused.Store(&refusal{as(turret.Rejected), time.Now()})
	return as(turret.Transient)
}

func (r *replica) recent() error {
	if said := r.refused.Load(); said != nil && time.Since(said.since) < pause {
		return said.err
	}
	return nil
}

// State returns whether the key is used in its Region, for [turret.Inspect], and if
// not, the code that KMS refused it with, such as DisabledException.
func (r *replica) State() slog.Attr {
	err := r.recent()
	if err == nil {
		return slog.Group("awskms", slog.String("state", "usable"))
	}
	code := "another error"
	if api, ok := errors.AsType[smithy.APIError](err); ok && meanings[api.ErrorCode()].reason != "" { // not what an endpoint made up
		code = api.ErrorCode()
	}
	return slog.Group("awskms", slog.String("state", "refused"), slog.String("refused_with", code))
}

// isRegional reports whether KMS said something that holds in one Region only:
// a replica's policy, state and grants are its own.
func isRegional(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && turret.Classify(err) == turret.Permanent && !aboutRequests[api.ErrorCode()]
}

// aboutRequests are the Permanent errors that any Region would answer with.
var aboutRequests = map[string]bool{
	"ValidationException":           true,
	"ValidationError":               true,
	"InvalidKeyUsageException":      true,
	"UnsupportedOperationException": true,
	"MissingParameter":              true,
	"InvalidParameterValue":         true,
	"InvalidParameterCombination":   true,
	"DryRunOperationException":      true,
}
