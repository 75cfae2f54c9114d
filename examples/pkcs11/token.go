//go:build cgo

package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/reconnect"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
)

// newSigner puts a stack around a key in a token. OnBroken is told each time
// that the token has to be opened again.
func newSigner(ctx context.Context, t *token, onBroken func(error)) (*signer.Signer, error) {
	return signer.NewBuilder(signer.Reconnect(t, reconnect.Options{
		MaxBackoff: 5 * time.Second,
		OnBroken:   func(_ context.Context, err error) { onBroken(err) },
	})).
		Timeout(20 * time.Second).
		Retry(retry.Options{MaxAttempts: 5, WaitRejected: true}).
		Timeout(8 * time.Second).
		Build(ctx)
}

// token says where a key is: which library, which of its tokens, which key.
type token struct {
	module string // the PKCS #11 library
	label  string // the token's
	pin    string
	key    string // the key pair's label

	hungAfter time.Duration // how long an operation may take

	around func(crypto.Signer) crypto.Signer // what tests put around the key; may be nil

	refused atomic.Pointer[error] // what the token said of the PIN
}

// ProvideKey opens the token and finds the key. It knows no context, like the
// driver; signer.Reconnect sees to that.
func (t *token) ProvideKey(context.Context) (signer.Key, error) {
	// After three wrong PINs most tokens lock themselves for good.
	if refused := t.refused.Load(); refused != nil {
		return nil, *refused
	}
	s, err := t.open()
	if err != nil {
		err = classify(fmt.Errorf("token %q, key %q: %w", t.label, t.key, err))
		if isOf(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_LOCKED) {
			t.refused.Store(&err)
		}
		return nil, err
	}
	return signer.Wrap(s, signer.WrapOptions{
		Serial:    true,
		HungAfter: t.hungAfter,
		MapError:  classify,
	}), nil
}

// session is a key with all that crypto11 has open for it.
//
// Crypto11 keeps a pool of sessions, and object handles that are valid as long
// as the login is, which ends with the last session. It puts a session back into
// the pool whatever happened to it, and never looks whether it is alive: after
// C_CloseAllSessions, or a token that was pulled, every operation gets one dead
// handle or another, CKR_SESSION_HANDLE_INVALID, for ever. So what is opened
// again is the whole of it.
type session struct {
	crypto.Signer
	context *crypto11.Context
}

func (t *token) open() (crypto.Signer, error) {
	c, err := crypto11.Configure(&crypto11.Config{
		Path:       t.module,
		TokenLabel: t.label,
		Pin:        t.pin,
		// The worker uses one, and crypto11 one more, which keeps the login. The
		// default of 1024 is more than many tokens have.
		MaxSessions: 2,
		// Not that it should come to that: the worker makes one operation at a time.
		PoolWaitTimeout: 5 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	key, err := c.FindKeyPair(nil, []byte(t.key))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	s := &session{key, c}
	if t.around != nil {
		s.Signer = t.around(key)
	}
	return s, nil
}

// Close waits until every session is back in the pool, which in a driver that
// hangs is never; so it runs in the worker's goroutine, as everything here. The
// last one to be closed finalizes the library.
func (s *session) Close() error { return s.context.Close() }

// classify says of an error of PKCS #11 what it means: what a token says of the
// request or the PIN it will say again. All else may be better when the token is
// opened anew.
func classify(err error) error {
	if isOf(err,
		pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_EXPIRED,
		pkcs11.CKR_ARGUMENTS_BAD, pkcs11.CKR_DATA_INVALID, pkcs11.CKR_DATA_LEN_RANGE,
		pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_KEY_TYPE_INCONSISTENT,
		pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID,
	) {
		return turret.WithClass(err, turret.Permanent)
	}
	return turret.WithClass(err, turret.Transient)
}

func isOf(err error, codes ...pkcs11.Error) bool {
	code, ok := errors.AsType[pkcs11.Error](err)
	return ok && slices.Contains(codes, code)
}
