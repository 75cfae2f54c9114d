package signer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"log/slog"
	"math"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/mldsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/loadshed"
	"github.com/turretgo/turret/middleware/logging"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/recovery"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/throttle"
	"github.com/turretgo/turret/middleware/timeout"
	"github.com/turretgo/turret/signer"
)

func replicated(t *testing.T, keys ...signer.Key) signer.KeyProvider {
	t.Helper()
	return signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { return signer.Replicate(keys...) })
}

func fakeNamed(name string) *fakeKey {
	k := fake("ECDSA P-256")
	k.name = name
	return k
}

func TestStackIsInTheOrderOfTheMethods(t *testing.T) {
	s := build(t, signer.NewBuilder(fakeNamed("kms/home")).
		Timeout(10*time.Second).
		Retry(retry.Options{MaxAttempts: 5}).
		RateLimit(ratelimit.Options{Rate: 500, Burst: 50}).
		CircuitBreaker(gobreaker.Settings{Timeout: time.Second}).
		Use(nil, turret.LayerFunc("audit", func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
			return next.Call(ctx, req)
		})).
		Timeout(2*time.Second))
	lines := strings.Split(turret.Describe(s), "\n")
	for i, want := range []string{"signer ECDSA P-256", "timeout 10s", "retry 5 attempts", "rate limit 500/s", "kms/home", "audit", "timeout 2s", "verify", "*signer_test.fakeKey"} {
		require.Contains(t, lines[i], want)
	}
	require.Len(t, lines, 9)
}

func TestUseEachMakesALayerForEachReplica(t *testing.T) {
	each := func(replica string) signer.Layer {
		return turret.LayerFunc("audit of "+replica, func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
			return next.Call(ctx, req)
		})
	}
	two := replicated(t, fakeNamed("kms/eu-west-1"), fakeNamed("kms/us-east-1"))
	b := signer.NewBuilder(two).UseEach(each).Failover(failover.Options{}).UseEach(nil).UseEach(each)
	described := turret.Describe(build(t, b))
	require.Regexp(t, `(?s)audit of \n.*kms/eu-west-1.*audit of kms/eu-west-1.*kms/us-east-1.*audit of kms/us-east-1`, described)
	require.Equal(t, 3, strings.Count(described, "audit of "))

	require.Contains(t, turret.Describe(build(t, signer.NewBuilder(fakeNamed("kms/home")).UseEach(each))), "audit of kms/home")
}

func TestDefaultsTellOfReplicasThroughTheirHooks(t *testing.T) {
	home, away := fakeNamed("kms/east"), fakeNamed("kms/west")
	home.call = func(context.Context, signer.Request) (signer.Response, error) {
		return signer.Response{}, turret.WithClass(errors.New("down"), turret.Throttled)
	}
	var changes []failover.Change
	s := build(t, signer.NewBuilder(replicated(t, home, away)).Defaults(signer.Defaults{
		Failover: failover.Options{OnChange: func(c failover.Change) { changes = append(changes, c) }},
		Breaker:  gobreaker.Settings{Name: "kms"},
	}))
	for range 5 {
		_, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
		require.NoError(t, err)
	}
	require.Len(t, changes, 1)
	require.Equal(t, "kms/east", changes[0].Name)
	require.Contains(t, turret.Describe(s), "breaker kms/east (", "and not kms/kms/east")
}

func TestStackWithoutATimeoutFirstGetsOne(t *testing.T) {
	described := func(b signer.Builder) string { return turret.Describe(build(t, b)) }
	b := signer.NewBuilder(fake("ECDSA P-256"))
	require.Contains(t, described(b), "timeout 30s")
	require.Contains(t, described(b.Retry(retry.Options{}).Timeout(time.Second)), "timeout 30s\nretry")
	require.NotContains(t, described(b.Timeout(time.Second).Retry(retry.Options{})), "30s")
	require.NotContains(t, described(b.Retry(retry.Options{}).NoTimeout()), "timeout")
}

func TestLayersOfAllKinds(t *testing.T) {
	var records bytes.Buffer
	s := build(t, signer.NewBuilder(replicated(t, fakeNamed("a"), fakeNamed("b"))).
		Timeout(time.Minute).
		LoadShed(loadshed.Options{}).
		Concurrency(concurrency.Options{Max: 8}).
		Retry(retry.Options{}).
		Failover(failover.Options{}).
		Throttle(throttle.Options{}).
		Adaptive(adaptive.Options{}).
		Log(logging.Options{Name: "kms", Success: slog.LevelInfo, Logger: slog.New(slog.NewTextHandler(&records, nil))}).
		Recover(recovery.Options{}))
	_, err := s.SignMessage(nil, []byte("the message"), crypto.SHA256)
	require.NoError(t, err)
	described := turret.Describe(s)
	for _, want := range []string{"load shed", "concurrency 8", "throttle", "adaptive", "recovery"} {
		require.Contains(t, described, want)
	}
	require.Contains(t, records.String(), "layer=kms/a", "each replica's has its name")
	require.NotContains(t, records.String(), "message=")

	b := signer.NewBuilder(fake("Ed25519")).Concurrency(concurrency.Options{}).LoadShed(loadshed.Options{}).
		Throttle(throttle.Options{K: -1}).Adaptive(adaptive.Options{Min: -1}).Hedge(hedge.Options{Delay: -1}).Log(logging.Options{Slow: -1}).Recover(recovery.Options{})
	_, err = b.Build(t.Context())
	for _, want := range []string{"Builder.Concurrency: ", "Builder.Throttle: ", "Builder.Adaptive: ", "Builder.Hedge: ", "Builder.Log: "} {
		require.ErrorContains(t, err, want)
	}
}

func TestHedgeAboveAFailoverAsksTheOtherReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := fakeNamed("slow"), fakeNamed("quick")
		slow.call = hang
		s := build(t, signer.NewBuilder(replicated(t, slow, quick)).
			Timeout(time.Minute).
			Hedge(hedge.Options{Delay: 100 * time.Millisecond, Budget: hedge.NewBudget(1)}).
			Failover(failover.Options{}))
		start := time.Now()
		sig, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
		require.NoError(t, err)
		verifies(t, s.Public(), "m", sig, crypto.SHA256)
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		require.Equal(t, 1, quick.calls)
	})
}

func TestBalanceSpreadsAndEachReplicaHasItsOwnBreaker(t *testing.T) {
	var b signer.Builder
	synctest.Test(t, func(t *testing.T) {
		well, ill := fakeNamed("well"), fakeNamed("ill")
		ill.call = func(context.Context, signer.Request) (signer.Response, error) {
			return signer.Response{}, turret.WithClass(errors.New("down"), turret.Transient)
		}
		b = signer.NewBuilder(replicated(t, well, ill)).
			Retry(retry.Options{MaxAttempts: 10, Backoff: retry.Backoff{Min: 1, Max: 1}}).
			Balance(balance.Options{}).
			CircuitBreaker(gobreaker.Settings{})
		s := build(t, b)
		for range 100 {
			_, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
			require.NoError(t, err)
		}
		synctest.Wait() // for a probe beside the last call
		require.Equal(t, 100, well.calls)
		require.LessOrEqual(t, ill.calls, 6)
		require.Contains(t, turret.Describe(s), "  breaker ill")
	})

	one := build(t, signer.NewBuilder(fake("Ed25519")).Balance(balance.Options{}))
	require.NotContains(t, turret.Describe(one), "balance")
	_, err := b.Failover(failover.Options{}).Build(t.Context())
	require.ErrorContains(t, err, "the stack fans out already")
	_, err = signer.NewBuilder(fake("Ed25519")).Balance(balance.Options{Failures: -1}).Build(t.Context())
	require.ErrorContains(t, err, "Builder.Balance: ")
}

func TestPanicOfAKeyIsAnErrorWithRecover(t *testing.T) {
	key := fake("Ed25519")
	key.call = func(context.Context, signer.Request) (signer.Response, error) { panic("driver") }
	_, err := build(t, signer.NewBuilder(key).Recover(recovery.Options{})).SignMessage(nil, nil, crypto.Hash(0))
	require.ErrorIs(t, err, recovery.ErrPanic)
	require.PanicsWithValue(t, "driver", func() { _, _ = build(t, signer.NewBuilder(key)).SignMessage(nil, nil, crypto.Hash(0)) })
}

func TestPanicOfADriverIsNotPutDownToThisPackage(t *testing.T) {
	for _, serial := range []bool{false, true} {
		w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { panic("driver") }), signer.WrapOptions{Serial: serial})
		s := build(t, signer.NewBuilder(w).Recover(recovery.Options{}))
		_, err := s.SignMessage(nil, nil, crypto.SHA256)
		require.Regexp(t, `\Arecovery: panic in \S+/signer\.panicOfTheWrappedSigner \(operation\.go:\d+\): driver\z`, err)
		require.NoError(t, s.Close())
	}
}

func TestSignersBuilderIsAValue(t *testing.T) {
	b := signer.NewBuilder(fake("ECDSA P-256")).Timeout(time.Minute).Retry(retry.Options{})
	left, right := b.Timeout(2*time.Second), b.Timeout(3*time.Second)
	require.Contains(t, turret.Describe(build(t, left)), "timeout 2s")
	require.Contains(t, turret.Describe(build(t, right)), "timeout 3s")
	require.NotContains(t, turret.Describe(build(t, b)), "timeout 2s")
	_, err := b.Timeout(-1).Build(t.Context())
	require.Error(t, err)
	build(t, b)
}

func TestFailoverAsksTheNextReplicaAndEachHasItsOwnBreaker(t *testing.T) {
	home, away := fakeNamed("home"), fakeNamed("away")
	home.call = func(context.Context, signer.Request) (signer.Response, error) {
		return signer.Response{}, turret.WithClass(errors.New("down"), turret.Transient)
	}
	s := build(t, signer.NewBuilder(replicated(t, home, away)).
		Failover(failover.Options{Failures: failover.Never}).
		CircuitBreaker(gobreaker.Settings{}))
	for range 20 {
		_, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
		require.NoError(t, err)
	}
	require.Equal(t, 6, home.calls, "its breaker opened")
	require.Equal(t, 20, away.calls, "and the other's did not")
}

func TestFailoverWithOneReplicaPassesThrough(t *testing.T) {
	s := build(t, signer.NewBuilder(fake("ECDSA P-256")).Timeout(time.Second).Failover(failover.Options{}).Retry(retry.Options{}))
	require.Equal(t, "signer ECDSA P-256\ntimeout 1s\nretry 3 attempts, backoff 50ms–5s\nverify\n*signer_test.fakeKey", turret.Describe(s))
}

func TestALyingReplicaIsFailedOver(t *testing.T) {
	liar, honest := fakeNamed("liar"), fakeNamed("honest")
	liar.call = func(context.Context, signer.Request) (signer.Response, error) {
		return signer.Response{Signature: []byte("lie"), KeyID: "liar"}, nil
	}
	var events []failover.Event
	s := build(t, signer.NewBuilder(replicated(t, liar, honest)).Failover(failover.Options{
		OnFailover: func(_ context.Context, e failover.Event) { events = append(events, e) },
	}))
	_, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Equal(t, "liar", events[0].From)
	require.Equal(t, "honest", events[0].To)
	require.ErrorIs(t, events[0].Err, signer.ErrBadSignature)
}

func TestInstrumentGoesAroundEveryNamedLayer(t *testing.T) {
	var seen []string
	instrument := func(name string) signer.Layer {
		if name == "ratelimit" {
			return nil
		}
		return turret.LayerFunc("watch "+name, func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
			seen = append(seen, name)
			return next.Call(ctx, req)
		})
	}
	s := build(t, signer.NewBuilder(replicated(t, fakeNamed("a"), fakeNamed("b"))).Defaults(signer.Defaults{}).Instrument(instrument))
	_, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, []string{"timeout", "retry", "failover", "breaker", "timeout", "key"}, seen)
	require.Contains(t, turret.Describe(s), "watch retry\nretry")
	require.Contains(t, turret.Describe(s), "  watch key\n  verify")
}

func TestInstrumentsAreToldWhichReplica(t *testing.T) {
	var seen []string
	instrument := func(name string) signer.Layer {
		return turret.LayerFunc("watch "+name, func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
			seen = append(seen, name+"@"+turret.Replica(ctx))
			return next.Call(ctx, req)
		})
	}
	down := fakeNamed("a")
	down.call = func(context.Context, signer.Request) (signer.Response, error) {
		return signer.Response{}, errors.New("down")
	}
	s := build(t, signer.NewBuilder(replicated(t, down, fakeNamed("b"))).Failover(failover.Options{}).Timeout(time.Second).Instrument(instrument))
	_, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, []string{"timeout@", "failover@", "timeout@a", "key@a", "timeout@b", "key@b"}, seen, "the first of them is the default one")
}

func TestEverythingWrongWithABuilderIsSaidAtOnce(t *testing.T) {
	_, err := signer.NewBuilder(nil).
		Timeout(0).
		Retry(retry.Options{Backoff: retry.Backoff{Factor: math.NaN()}}).
		RateLimit(ratelimit.Options{Rate: -1}).
		CircuitBreaker(gobreaker.Settings{Interval: -1}).
		Failover(failover.Options{}).Failover(failover.Options{}).
		Instrument(nil).
		Build(t.Context())
	for _, want := range []string{
		"no key provider", "Builder.Timeout: timeout: limit is 0s", "Builder.Retry: retry: backoff's Factor is NaN",
		"Builder.RateLimit", "Builder.CircuitBreaker", "Builder.Failover: the stack fans out already", "Builder.Instrument",
	} {
		require.ErrorContains(t, err, want)
	}
	var e *signer.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, turret.Permanent, turret.Classify(err))
}

func TestBreakerThatCouldNeverTripOnHangsIsAnError(t *testing.T) {
	b := signer.NewBuilder(fake("ECDSA P-256")).CircuitBreaker(gobreaker.Settings{Interval: time.Second})
	_, err := b.Timeout(2 * time.Second).Build(t.Context())
	require.ErrorContains(t, err, "Builder.CircuitBreaker")
	_, err = b.Timeout(500 * time.Millisecond).Build(t.Context())
	require.NoError(t, err)
}

func TestReplicatedKeyNeedsAFanOut(t *testing.T) {
	_, err := signer.NewBuilder(replicated(t, fakeNamed("a"), fakeNamed("b"))).Build(t.Context())
	require.EqualError(t, err, "signer: the key has 2 replicas, and the stack does not fan out to them; add Failover or Balance to the Builder where it should")
	s := build(t, signer.NewBuilder(replicated(t, fakeNamed("a"))))
	_, err = s.SignMessage(nil, nil, crypto.SHA256)
	require.NoError(t, err)
}

func TestReplicateRefusesKeysThatDiffer(t *testing.T) {
	other := fake("ECDSA P-384")
	_, err := signer.Replicate(fakeNamed("a"), other)
	require.ErrorContains(t, err, "has another public half")
	_, err = signer.Replicate()
	require.ErrorContains(t, err, "at least one key")
	_, err = signer.Replicate(fakeNamed("a"), nil)
	require.ErrorContains(t, err, "replica 2: signer: the key is nil")
	nested, err := signer.Replicate(fakeNamed("a"), fakeNamed("b"))
	require.NoError(t, err)
	flat, err := signer.Replicate(nested, fakeNamed("c"))
	require.NoError(t, err)
	require.Len(t, flat.(signer.Replicated).Replicas(), 3, "replicas of replicas are replicas")
	k, err := signer.Replicate(fakeNamed("a"), fakeNamed("b"))
	require.NoError(t, err)
	require.Len(t, k.(signer.Replicated).Replicas(), 2)
	_, err = k.Call(t.Context(), request)
	require.NoError(t, err)
}

func TestBuildRetriesTheLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s, err := signer.NewBuilder(signer.KeyProviderFunc(func(context.Context) (signer.Key, error) {
			if tries++; tries < 4 {
				return nil, errors.New("not yet")
			}
			return fake("Ed25519"), nil
		})).Build(t.Context())
		require.NoError(t, err)
		require.NotNil(t, s.Public())
	})
}

func TestBuildOnAHungProviderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := signer.NewBuilder(signer.KeyProviderFunc(func(ctx context.Context) (signer.Key, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})).Build(t.Context())
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.LessOrEqual(t, time.Since(start), signer.DefaultTimeout)
		require.Greater(t, time.Since(start), signer.DefaultTimeout/2)
	})
}

func TestBuildEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := signer.NewBuilder(signer.KeyProviderFunc(func(ctx context.Context) (signer.Key, error) { return nil, ctx.Err() })).Build(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestBuildDoesNotRetryAPermanentError(t *testing.T) {
	tries := 0
	gone := turret.WithClass(errors.New("no such key"), turret.Permanent)
	_, err := signer.NewBuilder(signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { tries++; return nil, gone })).Build(t.Context())
	require.ErrorIs(t, err, gone)
	require.Equal(t, 1, tries)
}

type badKey struct {
	*fakeKey
	pub crypto.PublicKey
}

func (k badKey) Public() crypto.PublicKey { return k.pub }

type badReplicas struct {
	*fakeKey
	replicas []signer.Key
}

func (k badReplicas) Replicas() []signer.Key { return k.replicas }

func TestBuildRefusesAKeyThatIsNone(t *testing.T) {
	provide := func(k signer.Key) signer.KeyProvider {
		return signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { return k, nil })
	}
	for want, k := range map[string]signer.Key{
		"the key is nil":             nil,
		"the key has no public half": badKey{},
		"public key of type string is malformed or not supported":                                                     badKey{pub: "key"},
		"public key of type *rsa.PublicKey is malformed or not supported":                                             badKey{pub: &rsa.PublicKey{}},
		"public key of type *ecdsa.PublicKey is malformed or not supported":                                           badKey{pub: (*ecdsa.PublicKey)(nil)},
		"public key of type ed25519.PublicKey is malformed or not supported":                                          badKey{pub: ed25519.PublicKey("x")},
		"public key of type *secp256k1.PublicKey is malformed or not supported":                                       badKey{pub: (*secp256k1.PublicKey)(nil)},
		"*secp256k1.PublicKey is malformed or not supported; RSA of 1024 bits or more, ECDSA on P-256, P-384, P-521 ": badKey{pub: &secp256k1.PublicKey{}}, // off the curve
		"*ecdsa.PublicKey is malformed or not supported; RSA of 1024 bits or more, ECDSA on P-256, P-384, P-521 and secp256k1 (as decred's *secp256k1.PublicKey)": badKey{
			pub: keys()["ECDSA secp256k1"].Public().(*secp256k1.PublicKey).ToECDSA(),
		},
		"public key of type *mldsa.PublicKey is malformed or not supported":          badKey{pub: (*mldsa.PublicKey)(nil)},
		"*mldsa.PublicKey is malformed or not supported; RSA of 1024 bits or more, ": badKey{pub: &mldsa.PublicKey{}},
		"the replicated key has no replicas":                                         badReplicas{fake("Ed25519"), nil},
		"replica 2: signer: the key is nil":                                          badReplicas{fake("Ed25519"), []signer.Key{fake("Ed25519"), (*fakeKey)(nil)}},
		"replica 2 (replica 2) has another public half":                              badReplicas{fake("Ed25519"), []signer.Key{fake("Ed25519"), fakeNamed("")}},
		`two replicas are named "a"`:                                                 badReplicas{fakeNamed("a"), []signer.Key{fakeNamed("a"), fakeNamed("a")}},
		"has another public half than its replicas":                                  badReplicas{fake("Ed25519"), []signer.Key{fakeNamed("")}},
	} {
		_, err := signer.NewBuilder(provide(k)).Failover(failover.Options{}).Build(t.Context())
		require.ErrorContains(t, err, want)
		var e *signer.Error
		require.ErrorAs(t, err, &e)
	}
	_, err := signer.NewBuilder(signer.KeyProviderFunc(nil)).Build(t.Context())
	require.ErrorContains(t, err, "no key provider")
	var none context.Context
	_, err = signer.NewBuilder(fake("Ed25519")).Build(none)
	require.NoError(t, err)
}

// Under these no signature verifies, whoever made it: each would be asked for
// again and again, and thrown away.
func TestBuildRefusesAPublicKeyUnderWhichNothingVerifies(t *testing.T) {
	n := keys()["RSA 2048"].Public().(*rsa.PublicKey).N
	tiny := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1023), big.NewInt(1))
	huge := math.MaxInt32
	huge += 2 // where an int has 32 bits, it is negative
	point := func(x, y int64) *ecdsa.PublicKey {
		//lint:ignore SA1019 no other way makes an invalid key
		return &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(x), Y: big.NewInt(y)}
	}
	for name, pub := range map[string]crypto.PublicKey{
		"RSA, no exponent":          &rsa.PublicKey{N: n},
		"RSA, a negative exponent":  &rsa.PublicKey{N: n, E: -65537},
		"RSA, an exponent of 1":     &rsa.PublicKey{N: n, E: 1},
		"RSA, an even exponent":     &rsa.PublicKey{N: n, E: 65536},
		"RSA, a huge exponent":      &rsa.PublicKey{N: n, E: huge},
		"RSA, an even modulus":      &rsa.PublicKey{N: new(big.Int).Add(n, big.NewInt(1)), E: 65537},
		"RSA of 1023 bits":          &rsa.PublicKey{N: tiny, E: 65537},
		"a point off the curve":     point(1, 1),
		"a point at infinity":       point(0, 0),
		"a point left of the field": point(-1, 1),
	} {
		t.Run(name, func(t *testing.T) {
			key := badKey{fake("RSA 2048"), pub}
			_, err := signer.NewBuilder(signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { return key, nil })).Build(t.Context())
			require.ErrorContains(t, err, "is malformed or not supported")
			require.Equal(t, turret.Permanent, turret.Classify(err))
		})
	}
	for _, e := range []int{3, math.MaxInt32} {
		key := badKey{fake("RSA 2048"), &rsa.PublicKey{N: n, E: e}}
		_, err := signer.NewBuilder(signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { return key, nil })).Build(t.Context())
		require.NoError(t, err, "crypto/rsa takes it")
	}
}

func TestReplicasNamesMustDiffer(t *testing.T) {
	for _, b := range []signer.Builder{
		signer.NewBuilder(replicated(t, fakeNamed("a"), fakeNamed("a"))).Failover(failover.Options{}),
		signer.NewBuilder(replicated(t, fakeNamed("a"), fakeNamed("a"))).Balance(balance.Options{}),
		signer.NewBuilder(replicated(t, fakeNamed("a"), fakeNamed("b"))).Balance(balance.Options{Names: []string{"b"}}),
	} {
		_, err := b.Build(t.Context())
		require.ErrorContains(t, err, "two replicas are named")
	}
	s := build(t, signer.NewBuilder(replicated(t, fakeNamed("a"), fakeNamed("a"))).Failover(failover.Options{Names: []string{"", "z"}}).CircuitBreaker(gobreaker.Settings{}))
	require.Contains(t, turret.Describe(s), "failover a, z")
	require.Contains(t, turret.Describe(s), "breaker z")
}

func TestLayersInWhichNobodyWaitsMayStandAboveTheTimeout(t *testing.T) {
	for _, b := range []signer.Builder{
		signer.NewBuilder(fake("Ed25519")).LoadShed(loadshed.Options{}).Timeout(40 * time.Second),
		signer.NewBuilder(fake("Ed25519")).Log(logging.Options{}).Recover(recovery.Options{}).Timeout(40 * time.Second),
	} {
		require.NotContains(t, turret.Describe(build(t, b)), "timeout 30s")
	}
	b := signer.NewBuilder(fake("Ed25519")).Concurrency(concurrency.Options{Max: 1}).Timeout(time.Second)
	require.Contains(t, turret.Describe(build(t, b)), "timeout 30s\nconcurrency")
}

func TestBuildThatFailsClosesTheKey(t *testing.T) {
	key := &closableKey{fakeKey: fake("Ed25519")}
	_, err := signer.NewBuilder(signer.KeyProviderFunc(func(context.Context) (signer.Key, error) {
		return closableReplicas{key}, nil
	})).Build(t.Context())
	require.ErrorContains(t, err, "no replicas")
	require.Equal(t, 1, key.closed)
}

type closableReplicas struct{ *closableKey }

func (closableReplicas) Replicas() []signer.Key { return nil }

func TestTimeoutThatCanNeverRunOutIsAnError(t *testing.T) {
	b := signer.NewBuilder(fake("Ed25519"))
	for _, bad := range []signer.Builder{
		b.Timeout(time.Second).Timeout(time.Second),
		b.Timeout(time.Second).Retry(retry.Options{}).Failover(failover.Options{}).Timeout(time.Minute),
		b.Retry(retry.Options{}).Timeout(time.Minute),
		b.Defaults(signer.Defaults{Timeout: time.Second, AttemptTimeout: time.Second}),
	} {
		_, err := bad.Build(t.Context())
		require.ErrorContains(t, err, "never runs out; the timeout of an attempt must be shorter than that of the whole call")
	}
	for _, good := range []signer.Builder{
		b.Timeout(time.Hour).Retry(retry.Options{}).Timeout(time.Minute),
		b.Use(verbatim).Timeout(time.Hour),
		b.Retry(retry.Options{}).Timeout(time.Minute).NoTimeout(),
		b.Defaults(signer.Defaults{Timeout: time.Second}),
		b.Defaults(signer.Defaults{Timeout: 20 * time.Millisecond}),
	} {
		build(t, good)
	}
	require.NotContains(t, turret.Describe(build(t, b.Use(verbatim).Timeout(time.Hour))), "30s")
}

var verbatim = turret.LayerFunc("verbatim", func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
	return next.Call(ctx, req)
})

func TestEachBuildHasABudgetOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := fake("Ed25519")
		down.call = func(context.Context, signer.Request) (signer.Response, error) {
			return signer.Response{}, turret.WithClass(errors.New("busy"), turret.Throttled)
		}
		b := signer.NewBuilder(down).Defaults(signer.Defaults{})
		first, second := build(t, b), build(t, b)
		var spent atomic.Bool
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				_, err := first.SignMessage(nil, nil, crypto.Hash(0))
				spent.CompareAndSwap(false, errors.Is(err, retry.ErrBudget))
			})
		}
		wg.Wait()
		require.True(t, spent.Load())
		_, err := second.SignMessage(nil, nil, crypto.Hash(0))
		require.NotErrorIs(t, err, retry.ErrBudget)
	})
}

func TestBuilderMayBeBuiltConcurrently(t *testing.T) {
	b := signer.NewBuilder(nil).Timeout(0).Timeout(0).Timeout(0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := b.Build(t.Context()); err == nil {
				t.Error("built")
			}
		})
	}
	wg.Wait()
}

func TestHungHomeDoesNotCostEveryCallAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home, away := fakeNamed("home"), fakeNamed("away")
		home.call = hang
		s := build(t, signer.NewBuilder(replicated(t, home, away)).Defaults(signer.Defaults{}))
		slow := 0
		for range 100 { // one a second: the quiet signer of a CA
			start := time.Now()
			_, err := s.SignMessage(nil, nil, crypto.SHA256)
			require.NoError(t, err)
			if time.Since(start) >= time.Second {
				slow++
			}
			<-time.After(time.Second)
		}
		require.LessOrEqual(t, slow, 6+100/10, "six until the breaker opens, then one a probe")
	})
}

func TestKeyWithAlgorithmsUnknownHere(t *testing.T) {
	k := &listing{fake("ECDSA P-256"), []signer.Algorithm{"NEW_THING", signer.ECDSA_SHA_256}}
	s := build(t, signer.NewBuilder(k))
	_, err := s.Sign(nil, []byte("m"), crypto.Hash(0))
	require.ErrorContains(t, err, "opts name no hash")
	require.Zero(t, k.calls)
	cert, err := signer.Certificate(selfSigned(t, s), s)
	require.NoError(t, err)
	require.Len(t, cert.SupportedSignatureAlgorithms, 1)

	k = &listing{fake("Ed25519"), []signer.Algorithm{"NEW_THING"}}
	_, err = build(t, signer.NewBuilder(k)).Sign(nil, []byte("m"), crypto.Hash(0))
	require.EqualError(t, err, "signer: Ed25519 key has no algorithm that is known here; it must sign with one of ED25519_SHA_512")
	require.Zero(t, k.calls)
}

type listing struct {
	*fakeKey
	algorithms []signer.Algorithm
}

func (l *listing) Algorithms() []signer.Algorithm                 { return l.algorithms }
func (l *listing) ProvideKey(context.Context) (signer.Key, error) { return l, nil }

func TestChainGivesTheFirstKeyThereIs(t *testing.T) {
	no := func(text string) signer.KeyProvider {
		return signer.KeyProviderFunc(func(context.Context) (signer.Key, error) {
			return nil, turret.WithClass(errors.New(text), turret.Permanent)
		})
	}
	want := fake("Ed25519")
	got, err := signer.Chain(no("not here"), want, no("unreached")).ProvideKey(t.Context())
	require.NoError(t, err)
	require.Same(t, want, got)

	_, err = signer.Chain(no("no token"), no("no file")).ProvideKey(t.Context())
	require.EqualError(t, err, "signer: no provider of the chain has a key; provider 1: no token; provider 2: no file")
	require.Equal(t, turret.Permanent, turret.Classify(err))

	_, err = signer.Chain(no("no token"), signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { return nil, errors.New("reset") })).ProvideKey(t.Context())
	require.Equal(t, turret.Unknown, turret.Classify(err), "one may have it the next time")

	for _, c := range []signer.KeyProvider{signer.Chain(), signer.Chain(want, nil), signer.Chain(signer.KeyProviderFunc(nil)), signer.Chain((*signer.Wrapped)(nil))} {
		_, err = c.ProvideKey(t.Context())
		require.ErrorContains(t, err, "at least one key provider")
	}
	for _, nothing := range []signer.Key{nil, (*signer.Wrapped)(nil)} {
		_, err = signer.Chain(signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { return nothing, nil })).ProvideKey(t.Context())
		require.ErrorContains(t, err, "neither a key nor an error")
	}
}

func TestChainsHungProviderUsesUpItsOwnShareOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := signer.KeyProviderFunc(func(ctx context.Context) (signer.Key, error) { <-ctx.Done(); return nil, ctx.Err() })
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		start := time.Now()
		_, err := signer.Chain(hung, fake("Ed25519"), hung).ProvideKey(ctx)
		require.NoError(t, err)
		require.Equal(t, 3*time.Second, time.Since(start))

		start = time.Now()
		_, err = signer.Chain(hung, hung).ProvideKey(ctx)
		require.ErrorContains(t, err, "provider 2")
		require.Equal(t, 6*time.Second, time.Since(start))
	})
}

func TestChainEndsWithTheCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := signer.Chain(
		signer.KeyProviderFunc(func(ctx context.Context) (signer.Key, error) { cancel(); return nil, ctx.Err() }),
		signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { t.Error("asked although nobody waits"); return nil, nil }),
	).ProvideKey(ctx)
	require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
}
