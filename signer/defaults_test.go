package signer_test

import (
	"context"
	"crypto"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
)

func TestDefaultsAreTheRecommendedStack(t *testing.T) {
	two := replicated(t, fakeNamed("kms/eu-west-1"), fakeNamed("kms/us-east-1"))
	s := build(t, signer.NewBuilder(two).Defaults(signer.Defaults{}))
	require.Equal(t, `signer ECDSA P-256
timeout 10s
retry 100 attempts, backoff 25ms–1s, budget 20% + 10/s, waits out refusals
failover kms/eu-west-1, kms/us-east-1
  kms/eu-west-1
  rate limit adaptive, 100/s to 1000/s, waits 2.5s at most
  breaker kms/eu-west-1 (opens for 170ms)
  timeout 250ms to 1s
  verify
  *signer_test.fakeKey
  kms/us-east-1
  rate limit adaptive, 100/s to 1000/s, waits 2.5s at most
  breaker kms/us-east-1 (opens for 170ms)
  timeout 250ms to 1s
  verify
  *signer_test.fakeKey`, turret.Describe(s))
}

func TestDefaultsKeepWhatIsSet(t *testing.T) {
	s := build(t, signer.NewBuilder(fake("ECDSA P-256")).Defaults(signer.Defaults{
		Timeout:        7 * time.Second,
		AttemptTimeout: 3 * time.Second,
		Rate:           ratelimit.Options{Rate: 42, Burst: 4, MaxWait: time.Second},
		Retry:          retry.Options{MaxAttempts: 3},
		Breaker:        gobreaker.Settings{Name: "mine", Timeout: time.Minute},
	}))
	require.Equal(t, `signer ECDSA P-256
timeout 7s
retry 3 attempts, backoff 25ms–1s, budget 20% + 10/s, waits out refusals
rate limit 42/s, burst 4, waits 1s at most
breaker mine (opens for 1m0s)
timeout 3s
verify
*signer_test.fakeKey`, turret.Describe(s))
}

func TestDefaultsFollowTimeout(t *testing.T) {
	described := func(d signer.Defaults) string {
		return turret.Describe(build(t, signer.NewBuilder(fake("ECDSA P-256")).Defaults(d)))
	}
	short := described(signer.Defaults{Timeout: 2 * time.Second})
	require.Contains(t, short, "waits 500ms at most")
	require.Contains(t, short, "timeout 250ms to 500ms")
	require.Contains(t, described(signer.Defaults{Timeout: 400 * time.Millisecond}), "timeout 100ms to 100ms")
	require.Contains(t, described(signer.Defaults{Timeout: time.Hour}), "timeout 250ms to 1s")
}

func TestALimitThatIsToldIsKept(t *testing.T) {
	for want, o := range map[string]ratelimit.Options{
		"rate limit 300/s, burst 30, waits 2.5s at most":     {Rate: 300},
		"rate limit 7/s, burst 3, does not wait":             {Limiter: ratelimit.New(7, 3), MaxWait: ratelimit.NoWait},
		"rate limit adaptive, 100/s to 1000/s, waits 1s":     {MaxWait: time.Second},
		"rate limit adaptive, 100/s to 1000/s, waits 2.5s a": {Burst: 5},
	} {
		s := build(t, signer.NewBuilder(fake("ECDSA P-256")).Defaults(signer.Defaults{Rate: o}))
		require.Contains(t, turret.Describe(s), want)
		if o.Burst == 5 {
			require.Contains(t, stateOf(t, s), "burst=5")
		}
	}
}

// stateOf is what the rate limit of a signer without replicas shows.
func stateOf(t *testing.T, s *signer.Signer) (state string) {
	t.Helper()
	for n := turret.Inspect(s); ; n = n.Below[0] {
		if a, ok := n.State(); ok && a.Key == "ratelimit" {
			return a.String()
		}
		require.NotEmpty(t, n.Below)
	}
}

func TestDefaultsThatMakeNoSenseAreReportedOnce(t *testing.T) {
	for want, d := range map[string]signer.Defaults{
		"signer: Builder.Timeout: timeout: limit is -1s; it must be above zero":                                                               {Timeout: -time.Second},
		"signer: Builder.Timeout: timeout: limit is -2s; it must be above zero":                                                               {AttemptTimeout: -2 * time.Second},
		"signer: Builder.RateLimit: ratelimit: Burst is -1; it is at least 1, or 0 for a tenth of a second's worth":                           {Rate: ratelimit.Options{Burst: -1}},
		"signer: Builder.RateLimit: ratelimit: Rate is -1; it is calls per second, and more than 0":                                           {Rate: ratelimit.Options{Rate: -1}},
		"signer: Builder.RateLimit: ratelimit: MaxWait is -2ns; it is a time to wait, 0 for as long as the context allows, or NoWait":         {Rate: ratelimit.Options{MaxWait: -2}},
		"signer: Builder.RateLimit: ratelimit: both Limiter and Rate or Burst are set; the Limiter has its own rate, so set one or the other": {Rate: ratelimit.Options{Limiter: ratelimit.New(1, 1), Burst: 1}},
		"signer: Builder.CircuitBreaker: breaker: Settings.Timeout is -2ns: it is how long the breaker stays open; 0 means 60s":               {Breaker: gobreaker.Settings{Timeout: -2}},
		"signer: Builder.Defaults: retry: MaxAttempts is -2; it must be at least 1, or 0 for the default of 3":                                {Retry: retry.Options{MaxAttempts: -2}},
	} {
		_, err := signer.NewBuilder(fake("ECDSA P-256")).Defaults(d).Build(t.Context())
		require.EqualError(t, err, want)
	}
}

// A load is signatures asked for at a rate, however many are under way.
type load struct {
	asked, signed atomic.Int64
	all           sync.WaitGroup

	mu   sync.Mutex
	took []time.Duration
}

func (l *load) offer(s *signer.Signer, perSecond int, d time.Duration) {
	for range int(d.Seconds() * float64(perSecond)) {
		l.asked.Add(1)
		l.all.Go(func() {
			start := time.Now()
			if _, err := s.SignMessage(nil, nil, crypto.Hash(0)); err == nil {
				l.signed.Add(1)
				l.mu.Lock()
				defer l.mu.Unlock()
				l.took = append(l.took, time.Since(start))
			}
		})
		<-time.After(time.Second / time.Duration(perSecond))
	}
}

// kms is a key that takes a time for each signature, and has a quota.
type kms struct {
	*fakeKey
	takes            atomic.Int64 // a time.Duration
	quota            *rate.Limiter
	asked, throttled atomic.Int64
	chance           float64 // of throttling, whatever the rate
	mu               sync.Mutex
	dice             *rand.Rand
}

func newKMS(quota int) *kms {
	k := &kms{fakeKey: fake("Ed25519"), quota: rate.NewLimiter(rate.Limit(quota), quota), dice: rand.New(rand.NewPCG(1, 1))}
	k.takes.Store(int64(20 * time.Millisecond))
	k.call = func(ctx context.Context, req signer.Request) (signer.Response, error) {
		k.asked.Add(1)
		select {
		case <-time.After(time.Duration(k.takes.Load())):
		case <-ctx.Done():
			return signer.Response{}, ctx.Err()
		}
		if !k.quota.Allow() || k.unlucky() {
			k.throttled.Add(1)
			return signer.Response{}, turret.WithClass(errors.New("slow down"), turret.Throttled)
		}
		return k.sign(req)
	}
	return k
}

func (k *kms) unlucky() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dice.Float64() < k.chance
}

func plain(t *testing.T, k signer.Key, d signer.Defaults) *signer.Signer {
	return build(t, signer.NewBuilder(signer.KeyProviderFunc(func(context.Context) (signer.Key, error) { return k, nil })).Defaults(d).SkipVerify())
}

// A queue that reaches to the deadline gives each token to a call that has no time
// left to use it. That takes a while to come about, and stays.
func TestUnderLastingOverloadTheRateIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := plain(t, newKMS(1e6), signer.Defaults{Rate: ratelimit.Options{Rate: 100}})
		var warm, l load
		warm.offer(s, 125, time.Minute)
		before := warm.signed.Load()
		l.offer(s, 125, time.Minute)
		after := warm.signed.Load() + l.signed.Load()
		t.Logf("%d of 6000", after-before)
		require.Greater(t, after-before, int64(0.95*6000))
		warm.all.Wait()
		l.all.Wait()
	})
}

func TestDefaultsFindAQuotaThatNobodyTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKMS(300)
		var l load
		l.offer(plain(t, k, signer.Defaults{}), 400, 10*time.Second)
		l.all.Wait()
		t.Logf("%d of %d signed, %d throttled", l.signed.Load(), l.asked.Load(), k.throttled.Load())
		require.Equal(t, l.asked.Load(), l.signed.Load())
		require.Less(t, float64(k.throttled.Load()), 0.02*float64(l.signed.Load()))
	})
}

func TestDefaultsTakeAFewThrottledCallsForChance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKMS(1e6)
		k.chance = 0.1
		s := plain(t, k, signer.Defaults{})
		var l load
		l.offer(s, 200, 10*time.Second)
		l.all.Wait()
		require.Equal(t, l.asked.Load(), l.signed.Load())
		require.Contains(t, stateOf(t, s), "rate=1000")
	})
}

func TestReplicasFindQuotasOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home, away := newKMS(200), newKMS(1e6)
		home.name, away.name = "home", "away"
		s := build(t, signer.NewBuilder(replicated(t, home, away)).Defaults(signer.Defaults{}))
		var l load
		l.offer(s, 400, 5*time.Second)
		l.all.Wait()
		require.Equal(t, l.asked.Load(), l.signed.Load())
		var rates []string
		var walk func(n turret.Node)
		walk = func(n turret.Node) {
			if a, ok := n.State(); ok && a.Key == "ratelimit" {
				rates = append(rates, strings.Fields(a.String())[0])
			}
			for _, below := range n.Below {
				walk(below)
			}
		}
		walk(turret.Inspect(s))
		require.Len(t, rates, 2)
		require.NotContains(t, rates[0], "rate=1000")
		require.Contains(t, rates[1], "rate=1000")
	})
}

// Each first attempt has 250 ms, until one that has a second shows what it takes.
func TestDefaultsFollowAKeyThatBecomesSlow(t *testing.T) {
	for _, takes := range []time.Duration{300 * time.Millisecond, 800 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			k := newKMS(1e6)
			s := plain(t, k, signer.Defaults{})
			var fast, slow load
			fast.offer(s, 100, 5*time.Second)
			k.takes.Store(int64(takes))
			slow.offer(s, 100, 10*time.Second)
			fast.all.Wait()
			slow.all.Wait()
			require.EqualValues(t, 1500, fast.signed.Load()+slow.signed.Load())
			slices.Sort(slow.took)
			require.Equal(t, takes, slow.took[len(slow.took)/2], "in one attempt")
		})
	}
}

// A probe that hangs is passed over, so the key's recovery is seen before an
// attempt's timeout of ten seconds has run out.
func TestABreakersProbeThatHangsIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKMS(1e6)
		s := build(t, signer.NewBuilder(k).Timeout(time.Minute).Retry(retry.Options{MaxAttempts: 1000, WaitRejected: true}).
			CircuitBreaker(gobreaker.Settings{Timeout: 100 * time.Millisecond}).Timeout(10*time.Second))
		k.takes.Store(int64(time.Hour))
		var l load
		l.offer(s, 10, 11*time.Second) // ten seconds until attempts fail, and the breaker opens
		k.takes.Store(int64(20 * time.Millisecond))
		start := time.Now()
		_, err := s.SignMessage(nil, nil, crypto.Hash(0))
		require.NoError(t, err)
		require.Less(t, time.Since(start), 2*time.Second)
		l.all.Wait()
	})
}
