package signer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/buffer"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/signer"
)

// stub is a crypto.Signer with a Sign of the test's own.
type stub struct {
	crypto.Signer
	sign func(digest []byte) ([]byte, error)
}

func (s stub) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.sign(digest)
}

func stubbed(sign func([]byte) ([]byte, error)) stub { return stub{keys()["ECDSA P-256"], sign} }

var request = signer.Request{Algorithm: signer.ECDSA_SHA_256, MessageType: signer.Digest, Message: make([]byte, 32)}

func TestWrappedSignerThatIgnoresItsContextLetsTheCallerGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { <-release; return nil, errors.New("too late") }), signer.WrapOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := w.Call(ctx, request)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "signer: the wrapped signer (ECDSA P-256) had not answered: context deadline exceeded")
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
		require.Equal(t, time.Second, time.Since(start))
		close(release)
		synctest.Wait() // the bubble would report an operation that stays
	})
}

func TestOperationsLeftBehindAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { <-release; return []byte("sig"), nil }), signer.WrapOptions{MaxInFlight: 3})
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := w.Call(ctx, request)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		_, err := w.Call(t.Context(), request)
		require.ErrorIs(t, err, signer.ErrStuck)
		require.Equal(t, turret.Rejected, turret.Classify(err))
		require.EqualError(t, err, "signer: 3 operations of the wrapped signer have not returned: too many operations under way")

		close(release)
		synctest.Wait()
		resp, err := w.Call(t.Context(), request)
		require.NoError(t, err, "places come back when operations return")
		require.Equal(t, []byte("sig"), resp.Signature)
	})
}

func TestNoResultGoesToTheWrongCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Operation i takes i seconds and answers with what it was given, while
		// callers give up after five.
		w := signer.Wrap(stubbed(func(d []byte) ([]byte, error) {
			<-time.After(time.Duration(d[0]) * time.Second)
			return bytes.Clone(d), nil
		}), signer.WrapOptions{})
		results := make(chan error)
		for i := range byte(10) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
				defer cancel()
				message := []byte{i}
				resp, err := w.Call(ctx, signer.Request{Algorithm: signer.ECDSA_SHA_256, MessageType: signer.Digest, Message: message})
				message[0] = 99 // the caller's own again
				switch {
				case i <= 5 && (err != nil || resp.Signature[0] != i):
					results <- fmt.Errorf("%d got %v, %v", i, resp.Signature, err)
				case i > 5 && !errors.Is(err, context.DeadlineExceeded):
					results <- fmt.Errorf("%d got %v, %v", i, resp.Signature, err)
				default:
					results <- nil
				}
			}()
		}
		for range 10 {
			require.NoError(t, <-results)
		}
		<-time.After(time.Minute)
	})
}

func TestSerialIsOneAtATimeAndSkipsWhoHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var underWay, most int
		var served []byte
		w := signer.Wrap(stubbed(func(d []byte) ([]byte, error) {
			underWay++ // unguarded: the race detector sees to it that nobody else is here
			most = max(most, underWay)
			<-time.After(time.Second)
			served = append(served, d[0])
			underWay--
			return nil, nil
		}), signer.WrapOptions{Serial: true})
		done := make(chan error)
		for i := range byte(5) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				if i == 2 { // goes while it waits
					ctx, cancel = context.WithTimeout(t.Context(), 1500*time.Millisecond)
				}
				defer cancel()
				_, err := w.Call(ctx, signer.Request{Algorithm: signer.ECDSA_SHA_256, MessageType: signer.Digest, Message: []byte{i}})
				done <- err
			}()
			synctest.Wait()
		}
		var failed int
		for range 5 {
			if err := <-done; err != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				failed++
			}
		}
		require.Equal(t, 1, failed)
		require.Equal(t, 1, most)
		require.Equal(t, []byte{0, 1, 3, 4}, served)
		require.NoError(t, w.Close())
	})
}

func TestConcurrencyOfOneKeepsTheQueueOfASerialSignerOutOfItsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := stubbed(func(digest []byte) ([]byte, error) {
			<-time.After(50 * time.Millisecond)
			return keys()["ECDSA P-256"].Sign(rand.Reader, digest, crypto.SHA256)
		})
		s := build(t, signer.NewBuilder(signer.Wrap(slow, signer.WrapOptions{Serial: true})).
			Timeout(20*time.Second).
			Concurrency(concurrency.Options{Max: 1}).
			Defaults(signer.Defaults{}))
		defer s.Close()
		start := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				_, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
				assert.NoError(t, err)
			})
		}
		all.Wait()
		require.Equal(t, 5*time.Second, time.Since(start), "no operation was made twice")
	})
}

func TestSerialSignerOutlivesItsPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		w := signer.Wrap(stubbed(func([]byte) ([]byte, error) {
			if calls++; calls == 1 {
				panic("boom")
			}
			return []byte("sig"), nil
		}), signer.WrapOptions{Serial: true, MaxInFlight: 1})
		defer w.Close()
		require.PanicsWithValue(t, "boom", func() { _, _ = w.Call(t.Context(), request) })
		_, err := w.Call(t.Context(), request)
		require.NoError(t, err)
	})
}

func TestSerialSignerWhoseWorkerDiedSaysSo(t *testing.T) {
	w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { runtime.Goexit(); return nil, nil }), signer.WrapOptions{Serial: true})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.Call(t.Context(), request)
	}()
	<-done
	_, err := w.Call(t.Context(), request)
	require.ErrorContains(t, err, "the worker of the wrapped signer has died")
	require.Equal(t, turret.Transient, turret.Classify(err), "another one may be well")
}

func TestSerialQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { <-release; return nil, nil }), signer.WrapOptions{Serial: true, MaxInFlight: 2})
		require.NoError(t, w.Ready())
		done := make(chan error)
		for range 2 {
			go func() { _, err := w.Call(t.Context(), request); done <- err }()
			synctest.Wait()
		}
		_, err := w.Call(t.Context(), request)
		require.ErrorIs(t, err, signer.ErrStuck)
		require.ErrorIs(t, w.Ready(), signer.ErrStuck)
		close(release)
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.NoError(t, w.Close())
		_, err = w.Call(t.Context(), request)
		require.ErrorIs(t, err, buffer.ErrClosed)
		require.ErrorIs(t, err, signer.ErrClosed)
	})
}

func TestCloseOfAHungSerialSignerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := &closableSigner{Signer: stubbed(func([]byte) ([]byte, error) { <-release; return nil, nil })}
		w := signer.Wrap(c, signer.WrapOptions{Serial: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.Call(ctx, request)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		start := time.Now()
		require.ErrorIs(t, w.Close(), context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(start))
		require.Zero(t, c.closed, "not while its operation is under way")
		close(release)
		synctest.Wait()
		require.Equal(t, 1, c.closed, "but after it")
	})
}

func TestPanicOfAWrappedSignerComesUpInTheCaller(t *testing.T) {
	w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { panic("boom") }), signer.WrapOptions{MaxInFlight: 1})
	for range 3 { // and gives its place back
		require.PanicsWithValue(t, "boom", func() { _, _ = w.Call(t.Context(), request) })
	}
}

//go:noinline
func deepInTheDriver() ([]byte, error) { panic("boom") }

func TestPanicThatEndsTheProgramShowsTheDriversStack(t *testing.T) {
	if serial := os.Getenv("TURRET_TEST_CRASH"); serial != "" { // in a process of its own
		w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { return deepInTheDriver() }), signer.WrapOptions{Serial: serial == "true"})
		s := build(t, signer.NewBuilder(w).Defaults(signer.Defaults{}))
		go s.SignMessage(nil, nil, crypto.SHA256) // where package testing does not recover
		<-t.Context().Done()
	}
	for _, serial := range []string{"false", "true"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=1m")
		cmd.Env = append(os.Environ(), "TURRET_TEST_CRASH="+serial)
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Regexp(t, `(?s)panic: the wrapped signer panicked, in .*deepInTheDriver.*panic: boom`, string(out))
	}
}

func TestPanicAfterTheCallerHasGoneKillsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { <-time.After(time.Minute); panic("boom") }), signer.WrapOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.Call(ctx, request)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		<-time.After(time.Hour)
	})
}

func TestGoexitOfAWrappedSignerExitsTheCallersGoroutine(t *testing.T) {
	w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { runtime.Goexit(); return nil, nil }), signer.WrapOptions{MaxInFlight: 1})
	for range 3 {
		exited := make(chan bool)
		go func() {
			returned := false
			defer func() { exited <- !returned }()
			_, _ = w.Call(t.Context(), request)
			returned = true
		}()
		require.True(t, <-exited)
	}
}

// contextual is a signer that takes contexts, as other libraries' do.
type contextual struct {
	stub
	ctx    context.Context
	digest []byte
	wait   chan struct{}
}

func (c *contextual) SignContext(ctx context.Context, _ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	if c.wait != nil {
		<-c.wait
	}
	c.ctx, c.digest = ctx, digest
	return []byte("sig"), nil
}

func TestSignerWithContextIsCalledThroughIt(t *testing.T) {
	c := &contextual{stub: stubbed(nil)}
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 1)
	for _, o := range []signer.WrapOptions{{}, {Serial: true}} {
		w := signer.Wrap(c, o)
		c.ctx = nil
		_, err := w.Call(ctx, request)
		require.NoError(t, err)
		require.Equal(t, 1, c.ctx.Value(key{}))
		require.NoError(t, w.Close())
	}
	var err error

	_, err = signer.Wrap(c, signer.WrapOptions{}).Call(ctx, signer.Request{Algorithm: signer.ECDSA_SHA_256, MessageType: signer.Raw, Message: []byte("m")})
	require.NoError(t, err)
	require.Equal(t, digest(crypto.SHA256, "m"), c.digest)
}

func TestSignerWithContextIsSerialAndBoundedLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := &contextual{stub: stubbed(nil), wait: release} // ignores its context
		w := signer.Wrap(c, signer.WrapOptions{MaxInFlight: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.Call(ctx, request)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = w.Call(t.Context(), request)
		require.ErrorIs(t, err, signer.ErrStuck)
		close(release)
	})
}

func TestCloseWaitsForOperationsAndRefusesNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &closableSigner{}
		c.Signer = stubbed(func([]byte) ([]byte, error) {
			<-time.After(time.Second)
			if c.closed > 0 {
				t.Error("closed under an operation")
			}
			return []byte("sig"), nil
		})
		w := signer.Wrap(c, signer.WrapOptions{})
		done := make(chan error)
		go func() { _, err := w.Call(t.Context(), request); done <- err }()
		synctest.Wait()
		go func() { done <- w.Close() }()
		synctest.Wait()
		require.ErrorIs(t, w.Ready(), signer.ErrClosed)
		_, err := w.Call(t.Context(), request)
		require.ErrorIs(t, err, signer.ErrClosed)
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.NoError(t, w.Close(), "again")
		require.Equal(t, 1, c.closed)
	})
}

func TestWrappedKMSSignerOnP384ServesTLS12(t *testing.T) {
	// Another vendor's KMS: a crypto.Signer that keeps to its curve's hash.
	vendor := build(t, signer.NewBuilder(fake("ECDSA P-384")))
	for _, key := range []crypto.Signer{vendor, stub{keys()["ECDSA P-384"], nil}} {
		s := build(t, signer.NewBuilder(signer.Wrap(key, signer.WrapOptions{})))
		_, err := s.Sign(nil, make([]byte, 32), crypto.SHA256)
		require.ErrorContains(t, err, "it signs with ECDSA_SHA_384 only")
	}
	s := build(t, signer.NewBuilder(signer.Wrap(vendor, signer.WrapOptions{})))
	cert, err := signer.Certificate(selfSigned(t, s), s)
	require.NoError(t, err)
	require.Equal(t, []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}, cert.SupportedSignatureAlgorithms)
}

func TestSignerAroundASignerPassesTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := fake("Ed25519")
		key.call = hang
		inner := build(t, signer.NewBuilder(key).Timeout(time.Hour))
		outer := build(t, signer.NewBuilder(signer.Wrap(inner, signer.WrapOptions{})).Timeout(time.Second))
		start := time.Now()
		_, err := outer.SignMessage(nil, []byte("m"), crypto.Hash(0))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
	})
}

// messenger is a signer that wants whole messages.
type messenger struct {
	crypto.Signer
	message []byte
}

func (m *messenger) SignMessage(r io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	m.message = bytes.Clone(msg)
	return crypto.SignMessage(m.Signer, r, msg, opts)
}

func TestMessageSignerGetsTheWholeMessage(t *testing.T) {
	for _, name := range []string{"ECDSA P-256", "Ed25519"} {
		opts := crypto.Hash(0)
		if name != "Ed25519" {
			opts = crypto.SHA256
		}
		m := &messenger{Signer: keys()[name]}
		s := build(t, signer.NewBuilder(signer.Wrap(m, signer.WrapOptions{})))
		sig, err := s.SignMessage(rand.Reader, []byte("the message"), opts)
		require.NoError(t, err)
		require.Equal(t, "the message", string(m.message))
		verifies(t, s.Public(), "the message", sig, opts)
	}
}

func TestWrappedKeyIsNotHeldToAKMSsPairs(t *testing.T) {
	s := build(t, signer.NewBuilder(signer.Wrap(keys()["ECDSA P-384"], signer.WrapOptions{})))
	sig, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
	require.NoError(t, err)
	verifies(t, s.Public(), "m", sig, crypto.SHA256)
}

func TestWrapRefusesNonsense(t *testing.T) {
	require.Panics(t, func() { signer.Wrap(nil, signer.WrapOptions{}) })
	require.PanicsWithError(t, "signer: Wrap needs a crypto.Signer; it was given nil", func() { signer.Wrap((*ecdsa.PrivateKey)(nil), signer.WrapOptions{}) })
	o := signer.WrapOptions{MaxInFlight: -1}
	require.EqualError(t, o.Validate(), "signer: WrapOptions.MaxInFlight is -1; it must be at least 1, or 0 for the default of 1024")
	require.PanicsWithError(t, o.Validate().Error(), func() { signer.Wrap(keys()["Ed25519"], o) })
}

type closableSigner struct {
	crypto.Signer
	closed int
}

func (c *closableSigner) Close() error { c.closed++; return nil }

func TestCloseReachesTheWrappedSigner(t *testing.T) {
	c := &closableSigner{Signer: keys()["Ed25519"]}
	s := build(t, signer.NewBuilder(signer.Wrap(c, signer.WrapOptions{})))
	require.NoError(t, s.Close())
	require.Equal(t, 1, c.closed)
	require.NoError(t, signer.Wrap(keys()["Ed25519"], signer.WrapOptions{}).Close())
}
