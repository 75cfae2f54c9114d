package signer_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/reconnect"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
)

var errPulled = errors.New("CKR_DEVICE_REMOVED")

// token opens sessions that sign one at a time until it is told otherwise.
type token struct {
	options signer.WrapOptions
	key     atomic.Value                 // which of keys() it holds
	fault   atomic.Pointer[func() error] // what an operation does first, once
	open    func(context.Context) error  // what comes before a session is opened; nil for nothing

	mu       sync.Mutex
	sessions []*cardSession
}

// cardSession is a crypto.Signer of a token's.
type cardSession struct {
	crypto.Signer
	token  *token
	dead   atomic.Bool
	closes atomic.Int32
}

func newToken() *token {
	c := &token{options: signer.WrapOptions{Serial: true, HungAfter: 5 * time.Second}}
	c.key.Store("ECDSA P-256")
	return c
}

func (c *token) ProvideKey(ctx context.Context) (signer.Key, error) {
	if c.open != nil {
		if err := c.open(ctx); err != nil {
			return nil, err
		}
	}
	key := keys()[c.key.Load().(string)]
	s := &cardSession{token: c}
	s.Signer = stub{key, func(digest []byte) ([]byte, error) {
		if fault := c.fault.Swap(nil); fault != nil {
			if err := (*fault)(); err != nil {
				s.dead.Store(true)
				return nil, err
			}
		}
		if s.dead.Load() {
			return nil, errPulled
		}
		return key.Sign(nil, digest, crypto.SHA256)
	}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions = append(c.sessions, s)
	return signer.Wrap(s, c.options), nil
}

func (c *token) fails(fault func() error) { c.fault.Store(&fault) }
func (c *token) isPulled()                { c.fails(func() error { return errPulled }) }

// closes returns how often each session was closed.
func (c *token) closes() (closes []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		closes = append(closes, int(s.closes.Load()))
	}
	return closes
}

func (s *cardSession) Close() error { s.closes.Add(1); return nil }

// reconnected returns a signer around the token, as one would build it.
func reconnected(t *testing.T, c *token, o reconnect.Options) *signer.Signer {
	t.Helper()
	return build(t, signer.NewBuilder(signer.Reconnect(c, o)).
		Timeout(20*time.Second).
		Retry(retry.Options{MaxAttempts: 5, WaitRejected: true}).
		Timeout(10*time.Second))
}

func signs(t *testing.T, s *signer.Signer) {
	t.Helper()
	sig, err := s.Sign(nil, digest(crypto.SHA256, "m"), crypto.SHA256)
	require.NoError(t, err)
	verifies(t, s.Public(), "m", sig, crypto.SHA256)
}

func TestReconnectOpensTheKeyAgainWhenItBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newToken()
		var broken []error
		s := reconnected(t, c, reconnect.Options{OnBroken: func(_ context.Context, err error) { broken = append(broken, err) }})
		signs(t, s)
		signs(t, s)
		require.Equal(t, []int{0}, c.closes(), "what Build opened is what signs")
		for range 3 {
			c.isPulled()
			signs(t, s)
		}
		synctest.Wait()
		require.Equal(t, []int{1, 1, 1, 0}, c.closes())
		require.Equal(t, []error{errPulled, errPulled, errPulled}, broken)
		require.NoError(t, s.Close())
		require.Equal(t, []int{1, 1, 1, 1}, c.closes())
	})
}

func TestReconnectedKeyThatIsNeverUsedIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newToken()
		s := reconnected(t, c, reconnect.Options{})
		require.NoError(t, s.Close())
		require.Equal(t, []int{1}, c.closes())
	})
}

func TestReconnectIsOfManyCallers(t *testing.T) {
	c := newToken()
	s := reconnected(t, c, reconnect.Options{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for i := range 20 {
				if g == 0 && i%4 == 0 {
					c.isPulled()
				}
				_, err := s.Sign(nil, digest(crypto.SHA256, "m"), crypto.SHA256)
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
	require.NoError(t, s.Close())
	require.Greater(t, len(c.closes()), 3)
	for _, closes := range c.closes() {
		require.Equal(t, 1, closes)
	}
}

func TestBuildFailsWhereReconnectHasNoKeyToBeginWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newToken()
		c.open = func(context.Context) error {
			return turret.WithClass(errors.New("CKR_TOKEN_NOT_PRESENT"), turret.Permanent)
		}
		_, err := signer.NewBuilder(signer.Reconnect(c, reconnect.Options{})).Build(t.Context())
		require.ErrorContains(t, err, "CKR_TOKEN_NOT_PRESENT")
	})
}

func TestReconnectRefusesNonsense(t *testing.T) {
	replicated, err := signer.Replicate(fake("Ed25519"), fake("Ed25519"))
	require.NoError(t, err)
	provides := func(k signer.Key) signer.KeyProvider {
		return signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { return k, nil })
	}
	for _, tc := range []struct {
		p    signer.KeyProvider
		o    reconnect.Options
		want string
	}{
		{nil, reconnect.Options{}, "signer: Reconnect needs a key provider; it was given nil"},
		{(*token)(nil), reconnect.Options{}, "signer: Reconnect needs a key provider; it was given nil"},
		{newToken(), reconnect.Options{MinBackoff: -1}, "signer: Reconnect: reconnect: backoff is negative"},
		{provides(nil), reconnect.Options{}, "signer: the key is nil"},
		{provides(replicated), reconnect.Options{}, "signer: Reconnect was given a replicated key"},
		{signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { panic("boom") }), reconnect.Options{}, "signer: the provider of the key panicked: boom: no key was opened"},
		{signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { runtime.Goexit(); return nil, nil }), reconnect.Options{}, "signer: the provider of the key ended its goroutine: no key was opened"},
	} {
		_, err := signer.Reconnect(tc.p, tc.o).ProvideKey(t.Context())
		require.ErrorContains(t, err, tc.want)
	}
}

func TestAnotherKeyIsRefusedAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newToken()
		s := reconnected(t, c, reconnect.Options{MaxBackoff: time.Second})
		signs(t, s)
		<-time.After(time.Second)
		c.key.Store("RSA 2048")
		c.isPulled()
		_, err := s.Sign(nil, digest(crypto.SHA256, "m"), crypto.SHA256)
		require.ErrorIs(t, err, signer.ErrWrongKey)
		require.Equal(t, turret.Permanent, turret.Outcome(t.Context(), err))
		require.ErrorContains(t, err, "the key that was opened again, of type RSA 2048, has another public half than the ECDSA P-256 key that was opened first; it was closed, and nothing was signed")
		synctest.Wait()
		require.Equal(t, []int{1, 1}, c.closes())

		c.key.Store("ECDSA P-256")
		signs(t, s)
		require.NoError(t, s.Close())
		require.Equal(t, []int{1, 1, 1}, c.closes())
	})
}

// named is a wrapped key with a name, and the provider of itself.
type named struct{ *signer.Wrapped }

func (n named) ProvideKey(context.Context) (signer.Key, error) { return n, nil }
func (n named) Name() string                                   { return "left" }
func (n named) String() string                                 { return "left" }
func (n named) Unwrap() []any                                  { return []any{turret.Owned(n.Wrapped)} }

func TestReconnectedKeyIsWhatItsKeyIs(t *testing.T) {
	m := &messenger{Signer: keys()["ECDSA P-384"]}
	p := signer.Reconnect(named{signer.Wrap(m, signer.WrapOptions{})}, reconnect.Options{})
	s := build(t, signer.NewBuilder(p).NoTimeout())
	require.Equal(t, `signer ECDSA P-384
verify
reconnect, backoff 100ms–30s
left
*signer_test.messenger`, turret.Describe(s))
	sig, err := s.SignMessage(nil, []byte("m"), crypto.SHA384)
	require.NoError(t, err)
	require.Equal(t, "m", string(m.message), "it takes messages")
	verifies(t, s.Public(), "m", sig, crypto.SHA384)

	_, err = s.Sign(nil, digest(crypto.SHA256, "m"), crypto.SHA256)
	require.ErrorContains(t, err, "it signs with ECDSA_SHA_384 only", "its Algorithms are its key's")
	key, err := p.ProvideKey(t.Context())
	require.NoError(t, err)
	require.Equal(t, "left", key.(interface{ Name() string }).Name())
}

func TestClosedReconnectedKeySaysSo(t *testing.T) {
	key, err := signer.Reconnect(fake("ECDSA P-256"), reconnect.Options{}).ProvideKey(t.Context())
	require.NoError(t, err)
	require.NoError(t, turret.Close(key))
	_, err = key.Call(t.Context(), request)
	require.ErrorIs(t, err, signer.ErrClosed)
	require.Equal(t, turret.Permanent, turret.Classify(err))
	require.Error(t, turret.Ready(key))
}

func TestHungKeyIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := newToken()
		s := reconnected(t, c, reconnect.Options{})
		signs(t, s)
		start := time.Now()
		c.fails(func() error { <-release; return errPulled })
		signs(t, s)
		require.GreaterOrEqual(t, time.Since(start), 5*time.Second)
		require.Less(t, time.Since(start), 6*time.Second)
		signs(t, s)
		<-time.After(time.Minute)
		require.Equal(t, []int{0, 0}, c.closes(), "not while its operation is under way")
		require.NoError(t, s.Close())
		close(release)
		synctest.Wait()
		require.Equal(t, []int{1, 1}, c.closes(), "but after it")
	})
}

func TestCloseWithAHungKeyReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := newToken()
		s := reconnected(t, c, reconnect.Options{})
		c.fails(func() error { <-release; return errPulled })
		var call sync.WaitGroup
		call.Go(func() { _, _ = s.Sign(nil, digest(crypto.SHA256, "m"), crypto.SHA256) })
		defer call.Wait()
		synctest.Wait()
		start := time.Now()
		require.NoError(t, s.Close())
		require.Equal(t, 5*time.Second, time.Since(start), "HungAfter; what is known to hang is not waited for")
		close(release)
	})
}

func TestKeysThatHangAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := newToken()
		s := reconnected(t, c, reconnect.Options{MinBackoff: time.Second, MaxBackoff: time.Second})
		var err error
		for range 100 {
			c.fails(func() error { <-release; return errPulled })
			ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
			_, err = s.SignContext(ctx, nil, digest(crypto.SHA256, "m"), crypto.SHA256)
			cancel()
			<-time.After(time.Minute)
		}
		require.Len(t, c.closes(), 64)
		require.ErrorContains(t, err, "64 that broke have not come to their end")

		close(release)
		<-time.After(time.Minute)
		c.fault.Store(nil)
		signs(t, s)
		require.NoError(t, s.Close())
	})
}

func TestProviderThatBlocksHoldsUpNobodyAndItsLateKeyIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newToken()
		var opens atomic.Int32
		c.open = func(context.Context) error { opens.Add(1); <-time.After(time.Hour); return nil }
		start := time.Now()
		_, err := signer.NewBuilder(signer.Reconnect(c, reconnect.Options{})).Build(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(start), signer.DefaultTimeout+time.Second)
		require.EqualValues(t, 1, opens.Load())
		<-time.After(2 * time.Hour)
		require.Equal(t, []int{1}, c.closes())

		c.open = nil
		s := reconnected(t, c, reconnect.Options{})
		signs(t, s)
		c.open = func(context.Context) error { opens.Add(1); <-time.After(time.Hour); return nil }
		c.isPulled()
		start = time.Now()
		_, err = s.Sign(nil, digest(crypto.SHA256, "m"), crypto.SHA256)
		require.Error(t, err)
		require.Less(t, time.Since(start), 21*time.Second)
		_, err = s.Sign(nil, digest(crypto.SHA256, "m"), crypto.SHA256)
		require.Error(t, err)
		require.EqualValues(t, 2, opens.Load(), "no other opening begins before it has returned")
		require.NoError(t, s.Close())
		require.LessOrEqual(t, time.Since(start), time.Minute)
		<-time.After(2 * time.Hour)
		require.Equal(t, []int{1, 1, 1}, c.closes())
	})
}

func TestErrorOfAnOpeningThatRanOutOfTimeIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newToken()
		c.open = func(ctx context.Context) error {
			<-ctx.Done()
			return fmt.Errorf("slot 3 did not answer: %w", ctx.Err())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := signer.Reconnect(c, reconnect.Options{}).ProvideKey(ctx)
		require.EqualError(t, err, "slot 3 did not answer: context deadline exceeded")
	})
}

func TestPanicOfALateKeysCloseEndsNoProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := signer.KeyProviderFunc(func(context.Context) (signer.Key, error) {
			<-time.After(time.Minute)
			return panicsOnClose{signer.Wrap(keys()["Ed25519"], signer.WrapOptions{})}, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := signer.Reconnect(late, reconnect.Options{}).ProvideKey(ctx)
		require.EqualError(t, err, "signer: the key was not opened in time: context deadline exceeded")
		<-time.After(time.Hour)
	})
}

type panicsOnClose struct{ signer.Key }

func (panicsOnClose) Close() error { panic("boom") }

func TestDriverThatKillsItsWorkerIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newToken()
		s := reconnected(t, c, reconnect.Options{})
		signs(t, s)
		c.fails(func() error { <-time.After(2 * time.Second); runtime.Goexit(); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.SignContext(ctx, nil, digest(crypto.SHA256, "m"), crypto.SHA256)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		<-time.After(2 * time.Second)
		signs(t, s)
		require.Len(t, c.closes(), 2)

		exited := make(chan struct{})
		c.fails(func() error { runtime.Goexit(); return nil })
		go func() { // which ends with the driver's
			defer close(exited)
			_, _ = s.Sign(nil, digest(crypto.SHA256, "m"), crypto.SHA256)
		}()
		<-exited
		signs(t, s)
		require.Len(t, c.closes(), 3)
		require.NoError(t, s.Close())
		require.Equal(t, []int{1, 1, 1}, c.closes())
	})
}

func TestDriverThatPanicsIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newToken()
		s := reconnected(t, c, reconnect.Options{})
		signs(t, s)
		<-time.After(time.Second)
		c.fails(func() error { panic("boom") })
		require.PanicsWithValue(t, "boom", func() { _, _ = s.Sign(nil, digest(crypto.SHA256, "m"), crypto.SHA256) })
		signs(t, s)
		require.NoError(t, s.Close())
		require.Equal(t, []int{1, 1}, c.closes())
	})
}

// A rate limit asks whether what is below is ready. A dead worker is not, and yet
// a call has to come through, or it would stay dead.
func TestDeadWorkerBelowARateLimitIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newToken()
		s := build(t, signer.NewBuilder(signer.Reconnect(c, reconnect.Options{})).
			Timeout(20*time.Second).
			Retry(retry.Options{WaitRejected: true}).
			RateLimit(ratelimit.Options{Rate: 100}))
		signs(t, s)
		c.fails(func() error { <-time.After(time.Minute); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.SignContext(ctx, nil, digest(crypto.SHA256, "m"), crypto.SHA256)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		<-time.After(10 * time.Second)
		require.NoError(t, turret.Ready(s))
		signs(t, s)
		<-time.After(time.Minute)
		require.NoError(t, s.Close())
		require.Equal(t, []int{1, 1}, c.closes())
	})
}

// Two tokens with the same key are two replicas, each opened again by itself.
func TestReconnectedKeysAreReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := newToken(), newToken()
		pair := signer.KeyProviderFunc(func(ctx context.Context) (signer.Key, error) {
			var replicas []signer.Key
			for _, c := range []*token{left, right} {
				k, err := signer.Reconnect(c, reconnect.Options{}).ProvideKey(ctx)
				if err != nil {
					return nil, err
				}
				replicas = append(replicas, k)
			}
			return signer.Replicate(replicas...)
		})
		s := build(t, signer.NewBuilder(pair).
			Timeout(20*time.Second).
			Failover(failover.Options{Names: []string{"left", "right"}}).
			Timeout(10*time.Second))
		signs(t, s)
		left.isPulled()
		signs(t, s)
		left.isPulled()
		right.isPulled()
		_, err := s.Sign(nil, digest(crypto.SHA256, "m"), crypto.SHA256)
		require.ErrorIs(t, err, errPulled)
		<-time.After(time.Second)
		signs(t, s)
		require.NoError(t, s.Close())
		for _, c := range []*token{left, right} {
			for _, closes := range c.closes() {
				require.Equal(t, 1, closes)
			}
		}
		require.Contains(t, turret.Describe(s), "  reconnect, backoff 100ms–30s\n  *signer_test.cardSession")
	})
}
