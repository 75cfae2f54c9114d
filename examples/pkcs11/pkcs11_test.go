//go:build cgo

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/examples/internal/tool"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/signertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// softHSM returns SoftHSM's library.
func softHSM(t *testing.T) string {
	t.Helper()
	module, err := findSoftHSM()
	if err != nil {
		tool.Missing(t, "%v", err)
	}
	return module
}

// tokenWith returns a token with a key on curve, or an RSA key.
func tokenWith(t *testing.T, curve elliptic.Curve) (tok *token, dir string) {
	t.Helper()
	module := softHSM(t)
	t.Setenv("SOFTHSM2_CONF", "") // newToken sets it
	dir = t.TempDir()
	tok, err := newToken(t.Context(), module, dir)
	require.NoError(t, err)
	require.NoError(t, tok.generate(curve))
	return tok, dir
}

func open(t *testing.T, tok *token, onBroken func(error)) *signer.Signer {
	t.Helper()
	if onBroken == nil {
		onBroken = func(err error) { t.Error("broken:", err) }
	}
	key, err := newSigner(t.Context(), tok, onBroken)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, key.Close()) })
	return key
}

func digest(h crypto.Hash) []byte {
	d := h.New()
	d.Write([]byte("the message"))
	return d.Sum(nil)
}

func sign(ctx context.Context, key *signer.Signer) error {
	sig, err := key.SignContext(ctx, rand.Reader, digest(crypto.SHA256), crypto.SHA256)
	if err == nil && !ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest(crypto.SHA256), sig) {
		err = errors.New("the signature does not verify")
	}
	return err
}

// instrumented is a key in a token that counts its operations.
type instrumented struct {
	crypto.Signer
	before func() // may be nil

	operations, underWay, most atomic.Int32
}

func instrument(tok *token, before func()) *instrumented {
	i := &instrumented{before: before}
	tok.around = func(s crypto.Signer) crypto.Signer {
		return opened{s, i}
	}
	return i
}

// opened is the key as it was opened one time.
type opened struct {
	crypto.Signer
	i *instrumented
}

func (o opened) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	o.i.operations.Add(1)
	if n := o.i.underWay.Add(1); n > o.i.most.Load() {
		o.i.most.Store(n)
	}
	defer o.i.underWay.Add(-1)
	if o.i.before != nil {
		o.i.before()
	}
	return o.Signer.Sign(r, digest, opts)
}

func TestDemonstrationSignsOn(t *testing.T) {
	softHSM(t)
	t.Setenv("SOFTHSM2_CONF", "")
	t.Setenv("TMPDIR", t.TempDir())
	var out strings.Builder
	require.NoError(t, run(t.Context(), nil, &out, io.Discard))
	require.Equal(t, 9, strings.Count(out.String(), "\nsigned: "), out.String())
	require.Equal(t, 3, strings.Count(out.String(), "opened again: pkcs11: 0xB3: CKR_SESSION_HANDLE_INVALID\n"))
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestKeyOfYourOwn(t *testing.T) {
	for _, curve := range []elliptic.Curve{nil, elliptic.P384()} {
		tok, _ := tokenWith(t, curve)
		t.Setenv("PKCS11_PIN", tok.pin)
		var out strings.Builder
		require.NoError(t, run(t.Context(), []string{"-module", tok.module, "-token", tok.label, "-label", tok.key}, &out, io.Discard))
		require.Regexp(t, "^signed: [0-9a-f]{32}…\n$", out.String())
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	t.Setenv("PKCS11_PIN", "")
	err := run(t.Context(), []string{"-module", "/nowhere.so", "-token", "t", "-label", "l"}, io.Discard, io.Discard)
	require.EqualError(t, err, "-token needs -label, the key pair's, and the PIN in the environment variable PKCS11_PIN")
	t.Setenv("PKCS11_PIN", "1234")
	err = run(t.Context(), []string{"-module", "/nowhere.so", "-token", "t", "-label", "l"}, io.Discard, io.Discard)
	require.ErrorContains(t, err, `token "t", key "l": failed to create module context: failed to open module`)
}

func TestSignaturesOfATokenVerify(t *testing.T) {
	for name, curve := range map[string]elliptic.Curve{"RSA": nil, "P-256": elliptic.P256(), "P-384": elliptic.P384()} {
		t.Run(name, func(t *testing.T) {
			tok, _ := tokenWith(t, curve)
			key := open(t, tok, nil)
			switch pub := key.Public().(type) {
			case *ecdsa.PublicKey:
				hash := map[string]crypto.Hash{"P-256": crypto.SHA256, "P-384": crypto.SHA384}[name]
				sig, err := key.Sign(rand.Reader, digest(hash), hash)
				require.NoError(t, err)
				require.True(t, ecdsa.VerifyASN1(pub, digest(hash), sig))
			case *rsa.PublicKey:
				for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
					sig, err := key.Sign(rand.Reader, digest(hash), hash)
					require.NoError(t, err)
					require.NoError(t, rsa.VerifyPKCS1v15(pub, hash, digest(hash), sig))
					opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
					sig, err = key.Sign(rand.Reader, digest(hash), opts)
					require.NoError(t, err, hash)
					require.NoError(t, rsa.VerifyPSS(pub, hash, digest(hash), sig, opts))
				}
			}
		})
	}
}

func TestCancelledCallerInTheQueueNeverReachesTheToken(t *testing.T) {
	tok, _ := tokenWith(t, elliptic.P256())
	began, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	i := instrument(tok, func() { first.Do(func() { close(began); <-release }) })
	key := open(t, tok, nil)

	done := make(chan error)
	go func() { done <- sign(t.Context(), key) }()
	<-began
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		require.ErrorIs(t, sign(ctx, key), context.DeadlineExceeded)
		cancel()
	}
	close(release)
	require.NoError(t, <-done)
	require.NoError(t, sign(t.Context(), key))
	require.EqualValues(t, 2, i.operations.Load())
}

func TestOperationsNeverOverlapOnTheToken(t *testing.T) {
	tok, _ := tokenWith(t, elliptic.P256())
	i := instrument(tok, nil)
	key := open(t, tok, nil)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for range 8 {
				assert.NoError(t, sign(t.Context(), key))
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, i.most.Load())
	require.EqualValues(t, 32*8, i.operations.Load())
}

func TestSessionsKilledUnderManyCallersLoseNoSignature(t *testing.T) {
	tok, _ := tokenWith(t, elliptic.P256())
	var operations, pulls, broken atomic.Int32
	instrument(tok, func() {
		if operations.Add(1)%50 == 0 { // in the middle of an operation
			assert.NoError(t, tok.pull())
			pulls.Add(1)
		}
	})
	key := open(t, tok, func(err error) {
		broken.Add(1)
		assert.ErrorContains(t, err, "CKR_SESSION_HANDLE_INVALID")
		assert.Equal(t, turret.Transient, turret.Classify(err))
	})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 16 {
				assert.NoError(t, sign(t.Context(), key))
			}
		})
	}
	all.Wait()
	require.GreaterOrEqual(t, pulls.Load(), int32(5))
	require.Equal(t, pulls.Load(), broken.Load(), "each is reported, once")
}

func TestKeysOfATokenConform(t *testing.T) {
	for name, curve := range map[string]elliptic.Curve{"RSA": nil, "P-256": elliptic.P256(), "P-384": elliptic.P384()} {
		t.Run(name, func(t *testing.T) {
			tok, _ := tokenWith(t, curve)
			key := open(t, tok, nil)
			signertest.Run(t, func() crypto.Signer { return key })
		})
	}
}

func TestOperationThatHangsInTheDriverIsLeftBehind(t *testing.T) {
	tok, _ := tokenWith(t, elliptic.P256())
	tok.hungAfter = 200 * time.Millisecond
	release := make(chan struct{})
	var hung atomic.Bool
	i := instrument(tok, func() {
		if hung.CompareAndSwap(false, true) {
			<-release
		}
	})
	var broken []error
	key := open(t, tok, func(err error) { broken = append(broken, err) })
	require.NoError(t, sign(t.Context(), key), "by a session opened beside it")
	require.Len(t, broken, 1)
	require.ErrorIs(t, broken[0], signer.ErrHung)
	require.EqualValues(t, 2, i.operations.Load())
	close(release) // and its session is closed, as the leak test sees
}

func TestTokenRemovedForGoodIsAClearErrorAndCloses(t *testing.T) {
	tok, dir := tokenWith(t, elliptic.P256())
	var broken []error
	key := open(t, tok, func(err error) { broken = append(broken, err) })
	require.NoError(t, sign(t.Context(), key))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "tokens")))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := sign(ctx, key)
	t.Log(err)
	require.ErrorContains(t, err, `token "turret", key "release"`)
	require.NotEmpty(t, broken)
	require.ErrorContains(t, broken[0], "CKR_")
}

func TestWrongPINIsNotTriedAgain(t *testing.T) {
	tok, _ := tokenWith(t, elliptic.P256())
	right := tok.pin
	tok.pin = "wrong"
	for range 2 {
		_, err := newSigner(t.Context(), tok, func(error) {})
		require.ErrorContains(t, err, "CKR_PIN_INCORRECT")
		require.Equal(t, turret.Permanent, turret.Classify(err))
		tok.pin = right // which is too late
	}
	again := &token{module: tok.module, label: tok.label, key: tok.key, pin: right, hungAfter: time.Second}
	require.NoError(t, sign(t.Context(), open(t, again, nil)))
}

func TestAnotherKeyByTheSameLabelIsRefused(t *testing.T) {
	tok, _ := tokenWith(t, elliptic.P256())
	key := open(t, tok, func(error) {})
	require.NoError(t, sign(t.Context(), key))

	c, err := crypto11.Configure(&crypto11.Config{Path: tok.module, TokenLabel: tok.label, Pin: tok.pin})
	require.NoError(t, err)
	pair, err := c.FindKeyPair(nil, []byte(tok.key))
	require.NoError(t, err)
	require.NoError(t, pair.Delete())
	require.NoError(t, c.Close())
	require.NoError(t, tok.generate(elliptic.P256()))

	err = sign(t.Context(), key)
	require.ErrorIs(t, err, signer.ErrWrongKey)
}

func TestClassesOfPKCS11Errors(t *testing.T) {
	for code, want := range map[pkcs11.Error]turret.Class{
		pkcs11.CKR_SESSION_HANDLE_INVALID: turret.Transient,
		pkcs11.CKR_DEVICE_REMOVED:         turret.Transient,
		pkcs11.CKR_PIN_LOCKED:             turret.Permanent,
		pkcs11.CKR_DATA_LEN_RANGE:         turret.Permanent,
	} {
		err := classify(errors.Join(code))
		require.Equal(t, want, turret.Classify(err), code)
		require.ErrorIs(t, err, code)
	}
}
