package awskms_test

import (
	"context"
	"crypto"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// twoRegions is an account with a key in two of them.
type twoRegions struct {
	home, away *kmstest.Server
	key        string
}

func inTwoRegions(t *testing.T, test func(t *testing.T, r twoRegions)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		home := kmstest.NewServer()
		defer home.Close()
		home.Inject(slow(10 * time.Millisecond))
		away := home.Replica("eu-west-1")
		away.Inject(slow(30 * time.Millisecond))
		test(t, twoRegions{home, away, home.CreateKey(types.KeySpecEccNistP256)})
	})
}

func slow(d time.Duration) kmstest.Faults {
	return kmstest.Faults{Latency: kmstest.LogNormal(d, d)}
}

func (r twoRegions) provider() signer.KeyProvider {
	return awskms.MultiRegion(r.key, r.home.Client(), r.away.Client())
}

func (r twoRegions) build(t *testing.T) *signer.Signer {
	t.Helper()
	return closing(t, signer.NewBuilder(r.provider()).Defaults(signer.Defaults{}))
}

func closing(t *testing.T, b signer.Builder) *signer.Signer {
	t.Helper()
	s, err := b.Build(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// slowest signs n messages, one after the other, and returns what the slowest of
// them took. None may fail.
func slowest(t *testing.T, s *signer.Signer, n int) (longest time.Duration) {
	t.Helper()
	for range n {
		start := time.Now()
		sig, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
		require.NoError(t, err)
		require.NoError(t, goVerify(s.Public(), []byte("m"), sig, crypto.SHA256))
		longest = max(longest, time.Since(start))
	}
	return longest
}

func signatures(srv *kmstest.Server) int { return srv.Stats().Op("Sign").OK }

func TestHomeSignsWhileItIsWell(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		s := r.build(t)
		slowest(t, s, 50)
		require.Equal(t, 50, signatures(r.home))
		require.Zero(t, signatures(r.away))
		require.Contains(t, turret.Describe(s), "failover kms/us-east-1, kms/eu-west-1")
	})
}

// stacks are the ways to fan out: Defaults, and by hand.
func stacks(r twoRegions) map[string]signer.Builder {
	b := signer.NewBuilder(r.provider())
	above := b.Timeout(10 * time.Second).Retry(retry.Options{WaitRejected: true, MaxAttempts: 10})
	below := func(b signer.Builder) signer.Builder {
		return b.RateLimit(ratelimit.Options{Rate: 1000}).CircuitBreaker(gobreaker.Settings{}).Timeout(time.Second)
	}
	return map[string]signer.Builder{
		"defaults": b.Defaults(signer.Defaults{}),
		"failover": below(above.Failover(failover.Options{})),
		"balance":  below(above.Balance(balance.Options{})),
	}
}

func TestRegionThatFailsLosesNoSignatureAndCostsTheFirstCallsOnly(t *testing.T) {
	for fault, f := range map[string]kmstest.Faults{
		"down":      {Down: true},
		"hung":      {Hang: 1},
		"throttled": {Throttle: 1},
		"reset":     {Reset: 1},
		"lying":     {Corrupt: 1},
	} {
		for _, stack := range []string{"defaults", "failover", "balance"} {
			t.Run(fault+" "+stack, func(t *testing.T) {
				inTwoRegions(t, func(t *testing.T, r twoRegions) {
					s := closing(t, stacks(r)[stack])
					slowest(t, s, 50)
					r.home.Inject(f)
					late := 0
					for range 150 {
						if slowest(t, s, 1) > 300*time.Millisecond {
							late++
						}
					}
					require.LessOrEqual(t, late, 3, "the first few")
					if stack != "balance" { // which finds out in the long run
						require.LessOrEqual(t, slowest(t, s, 150), 60*time.Millisecond, "and nothing afterwards")
					}

					r.home.Inject(slow(10 * time.Millisecond))
					<-time.After(2 * time.Minute) // a breaker's minute, and a probation's
					slowest(t, s, 100)
					before := signatures(r.home)
					slowest(t, s, 100)
					require.Greater(t, signatures(r.home)-before, 30, "home is used again")
				})
			})
		}
	}
}

func TestFirstCallsOfAHungRegionWaitAnAttemptsTimeoutAtMost(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		s := r.build(t)
		r.home.Inject(kmstest.Faults{Hang: 1})
		longest := make(chan time.Duration)
		for range 50 { // at the same time
			go func() { longest <- slowest(t, s, 20) }()
		}
		for range 50 {
			require.LessOrEqual(t, <-longest, time.Second+100*time.Millisecond)
		}
	})
}

func TestRegionThatIsDownAtBuildIsOpenedLater(t *testing.T) {
	for name, f := range map[string]kmstest.Faults{"down": {Down: true}, "hung": {Hang: 1}, "throttled": {Throttle: 1}} {
		t.Run(name, func(t *testing.T) {
			inTwoRegions(t, func(t *testing.T, r twoRegions) {
				r.home.Inject(f)
				start := time.Now()
				s := r.build(t)
				require.LessOrEqual(t, time.Since(start), 1100*time.Millisecond)
				require.Contains(t, turret.Describe(s), "AWS KMS "+r.key+", to be opened")
				slowest(t, s, 100)
				require.Equal(t, 100, signatures(r.away))

				r.home.Inject(slow(10 * time.Millisecond))
				slowest(t, s, 200)
				before := signatures(r.home)
				slowest(t, s, 100)
				require.Equal(t, 100, signatures(r.home)-before, "home is used")
				require.Contains(t, turret.Describe(s), "AWS KMS "+r.home.ARN(r.key))
			})
		})
	}
}

func TestManyFirstCallsOpenARegionOnce(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		r.away.Inject(kmstest.Faults{Down: true})
		key, err := r.provider().ProvideKey(t.Context())
		require.NoError(t, err)
		r.away.Inject(slow(time.Second))
		before := r.away.Stats().Op("GetPublicKey").Requests
		errs := make(chan error)
		for range 64 {
			go func() {
				_, err := key.(signer.Replicated).Replicas()[1].Call(t.Context(), signDigest)
				errs <- err
			}()
		}
		for range 64 {
			require.NoError(t, <-errs)
		}
		require.Equal(t, 1, r.away.Stats().Op("GetPublicKey").Requests-before)
	})
}

var signDigest = signer.Request{Algorithm: signer.ECDSA_SHA_256, MessageType: signer.Digest, Message: make([]byte, 32)}

func TestCallerThatGoesWhileARegionIsOpened(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		r.away.Inject(kmstest.Faults{Hang: 1})
		key, err := r.provider().ProvideKey(t.Context())
		require.NoError(t, err)
		errs := make(chan error)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 2 { // one opens, one waits
			go func() {
				_, err := key.(signer.Replicated).Replicas()[1].Call(ctx, signDigest)
				errs <- err
			}()
		}
		for range 2 {
			err := <-errs
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
		}
	})
}

func TestNoRegionGivesTheKey(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		r.home.Inject(kmstest.Faults{Down: true})
		r.away.Inject(kmstest.Faults{Throttle: 1})
		_, err := r.provider().ProvideKey(t.Context())
		require.ErrorContains(t, err, r.key+": no Region gave the key: us-east-1: ")
		require.ErrorContains(t, err, "; eu-west-1: signer: "+r.key+": over quota")
		require.Equal(t, turret.Transient, turret.Classify(err))
	})
}

func TestRegionThatRefusesTheKeyIsFoundOutAtBuild(t *testing.T) {
	for name, refuse := range map[string]func(r twoRegions){
		"denied":   func(r twoRegions) { r.away.Deny(r.key) },
		"disabled": func(r twoRegions) { disable(r.away, r.key) },
	} {
		t.Run(name, func(t *testing.T) {
			inTwoRegions(t, func(t *testing.T, r twoRegions) {
				refuse(r)
				_, err := signer.NewBuilder(r.provider()).Defaults(signer.Defaults{}).Build(t.Context())
				require.ErrorContains(t, err, "the key is not to be used in every Region; put that right, or leave out those where it is not to sign: eu-west-1: ")
				require.Equal(t, turret.Permanent, turret.Classify(err))
				require.Equal(t, 1, r.away.Stats().Op("GetPublicKey").Requests)
			})
		})
	}
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		elsewhere := kmstest.NewServer() // another account
		defer elsewhere.Close()
		_, err := awskms.MultiRegion(r.key, r.home.Client(), elsewhere.Replica("eu-west-1").Client()).ProvideKey(t.Context())
		require.ErrorContains(t, err, "eu-west-1: signer: "+r.key+": there is no such key here")
	})
}

func TestRegionThatRefusesTheKeyIsFoundOutAtOnceWhileTheOthersHang(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		r.home.Inject(kmstest.Faults{Hang: 1})
		r.away.Deny(r.key)
		start := time.Now()
		_, err := signer.NewBuilder(r.provider()).Defaults(signer.Defaults{}).Build(t.Context())
		require.ErrorContains(t, err, "not to be used in every Region")
		require.ErrorContains(t, err, "us-east-1: signer: "+r.key+": given up before KMS had answered")
		require.ErrorContains(t, err, "eu-west-1: signer: "+r.key+": access denied")
		require.Equal(t, turret.Permanent, turret.Classify(err))
		require.LessOrEqual(t, time.Since(start), 1100*time.Millisecond)
	})
}

func TestRegionFoundLaterNotToHaveTheKeyRefusesAndOthersSign(t *testing.T) {
	for name, refuse := range map[string]struct {
		with, without func(r twoRegions)
		want          string
	}{
		"another key": {
			func(r twoRegions) { r.home.SetAlias("alias/a", r.home.CreateKey(types.KeySpecEccNistP256)) },
			func(r twoRegions) { r.home.SetAlias("alias/a", r.key) },
			"has another public half than the first",
		},
		"denied": {
			func(r twoRegions) { r.home.Deny(r.key) },
			func(r twoRegions) { r.home.Allow(r.key) },
			"access denied; the key's policy, or the caller's, must allow kms:GetPublicKey",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inTwoRegions(t, func(t *testing.T, r twoRegions) {
				r.home.SetAlias("alias/a", r.key)
				r.away.SetAlias("alias/a", r.key)
				r.home.Inject(kmstest.Faults{Down: true})
				var said []error
				s := closing(t, signer.NewBuilder(awskms.MultiRegion("alias/a", r.home.Client(), r.away.Client())).
					Failover(failover.Options{OnFailover: func(_ context.Context, e failover.Event) { said = append(said, e.Err) }}).
					Timeout(time.Second))
				refuse.with(r)
				r.home.Inject(slow(10 * time.Millisecond))
				before := r.home.Stats().Op("GetPublicKey").Requests
				slowest(t, s, 200) // six seconds
				require.Equal(t, 200, signatures(r.away))
				require.Equal(t, 1, r.home.Stats().Op("GetPublicKey").Requests-before, "it is not asked each time")
				require.ErrorContains(t, said[0], "left alone in us-east-1 for 10s: ")
				require.ErrorContains(t, said[199], refuse.want)
				require.Equal(t, turret.Transient, turret.Classify(said[0]))
				require.Equal(t, turret.Rejected, turret.Classify(said[1]))
				require.NoError(t, turret.Ready(s), "the other Region is ready")

				refuse.without(r)
				slowest(t, s, 400)
				before = signatures(r.home)
				slowest(t, s, 10)
				require.Equal(t, 10, signatures(r.home)-before, "it is looked at again")
			})
		})
	}
}

func TestKeysThatDifferAreRefusedAtBuild(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		r.home.SetAlias("alias/a", r.key)
		r.away.SetAlias("alias/a", r.home.CreateKey(types.KeySpecEccNistP256))
		_, err := awskms.MultiRegion("alias/a", r.home.Client(), r.away.Client()).ProvideKey(t.Context())
		require.ErrorContains(t, err, "replica 2 (kms/eu-west-1) has another public half than the first (kms/us-east-1)")
		require.Equal(t, turret.Permanent, turret.Classify(err))
	})
}

func TestARNIsRewrittenForEachRegion(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		r.home.SetAlias("alias/a", r.key)
		r.away.SetAlias("alias/a", r.key)
		for _, arn := range []string{r.home.ARN(r.key), r.away.ARN(r.key), aliasARN(r.home, r.key, "alias/a")} {
			key, err := awskms.MultiRegion(arn, r.home.Client(), r.away.Client()).ProvideKey(t.Context())
			require.NoError(t, err, arn)
			for i, srv := range []*kmstest.Server{r.home, r.away} {
				resp, err := key.(signer.Replicated).Replicas()[i].Call(t.Context(), signDigest)
				require.NoError(t, err)
				require.Equal(t, srv.ARN(r.key), resp.KeyID)
			}
		}
	})
}

func aliasARN(srv *kmstest.Server, key, alias string) string {
	return strings.Replace(srv.ARN(key), "key/"+key, alias, 1)
}

func TestMultiRegionRefusesWhatCannotWork(t *testing.T) {
	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	silent := struct{ awskms.API }{srv.Client()} // does not tell its Region
	const single = "1234abcd-12ab-34cd-56ef-1234567890ab"
	for name, tc := range map[string]struct {
		provider signer.KeyProvider
		want     string
	}{
		"no clients":           {awskms.MultiRegion(id), "MultiRegion needs a client for each Region; it was given none"},
		"a nil client":         {awskms.MultiRegion(id, srv.Client(), nil), "the KMS client is nil"},
		"a nil *Client":        {awskms.MultiRegion(id, srv.Client(), (*kms.Client)(nil)), "the KMS client is nil"},
		"no key id":            {awskms.MultiRegion("", srv.Client(), srv.Client()), "the key id is empty"},
		"a Region twice":       {awskms.MultiRegion(id, srv.Client(), srv.Client()), "two of MultiRegion's clients are for us-east-1"},
		"a single-Region id":   {awskms.MultiRegion(single, srv.Client(), srv.Replica("eu-west-1").Client()), "the ids of multi-Region keys begin with mrk-"},
		"a single-Region ARN":  {awskms.MultiRegion(srv.ARN(single), srv.Client(), srv.Replica("eu-west-1").Client()), "the ids of multi-Region keys begin with mrk-"},
		"an ARN for who knows": {awskms.MultiRegion(srv.ARN(id), srv.Client(), silent), "client 2 does not tell its Region, for which the ARN would have to be rewritten"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.provider.ProvideKey(t.Context())
			require.ErrorContains(t, err, tc.want)
			var e *signer.Error
			require.True(t, errors.As(err, &e))
			require.Equal(t, turret.Permanent, turret.Classify(err))
		})
	}
}

// broken is a client of somebody's own making.
type broken struct {
	awskms.API
	get func() (*kms.GetPublicKeyOutput, error)
}

func (b broken) GetPublicKey(context.Context, *kms.GetPublicKeyInput, ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
	return b.get()
}

func TestClientThatPanicsEndsNeitherTheProgramNorTheOtherRegions(t *testing.T) {
	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	for want, get := range map[string]func() (*kms.GetPublicKeyOutput, error){
		"the KMS client failed in GetPublicKey: panic: driver":          func() (*kms.GetPublicKeyOutput, error) { panic("driver") },
		"the KMS client failed in GetPublicKey: it ended its goroutine": func() (*kms.GetPublicKeyOutput, error) { runtime.Goexit(); return nil, nil },
	} {
		_, err := awskms.MultiRegion(id, srv.Client(), broken{srv.Client(), get}).ProvideKey(t.Context())
		require.ErrorContains(t, err, want)
		require.Equal(t, turret.Permanent, turret.Classify(err))
	}
}

func TestMultiRegionOfOneRegionIsItsKey(t *testing.T) {
	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	s := closing(t, signer.NewBuilder(awskms.MultiRegion(id, struct{ awskms.API }{srv.Client()})))
	slowest(t, s, 1)
	_, err := awskms.MultiRegion(strings.Repeat("0", 36), srv.Client()).ProvideKey(t.Context())
	require.ErrorContains(t, err, "no Region gave the key: us-east-1: ")
}

func TestOpenOfSeveralRegionsFailsOver(t *testing.T) {
	environment(t)
	home := server(t)
	away := home.Replica("eu-west-1")
	id := home.CreateKey(types.KeySpecEccNistP256)
	for _, key := range []string{id, home.ARN(id)} {
		provider, err := awskms.Open(t.Context(), "awskms:///"+key+"?region=us-east-1&region=eu-west-1&endpoint="+home.Endpoint()+"&endpoint="+away.Endpoint())
		require.NoError(t, err)
		s := closing(t, signer.NewBuilder(provider).Defaults(signer.Defaults{}))
		home.Inject(kmstest.Faults{Down: true})
		slowest(t, s, 10)
		home.Inject(kmstest.Faults{})
		require.Contains(t, turret.Describe(s), home.ARN(id))
		require.Contains(t, turret.Describe(s), away.ARN(id))
	}
	require.GreaterOrEqual(t, signatures(away), 20, "and an answer that came too late, where the machine is busy")
}

func TestRegionThatComesToRefuseTheKeyLosesNoSignature(t *testing.T) {
	for cause, refuse := range map[string]func(r twoRegions){
		"denied":   func(r twoRegions) { r.home.Deny(r.key) },
		"disabled": func(r twoRegions) { disable(r.home, r.key) },
		"deleted":  func(r twoRegions) { scheduleDeletion(r.home, r.key) },
	} {
		for _, stack := range []string{"defaults", "failover", "balance"} {
			t.Run(cause+" "+stack, func(t *testing.T) {
				inTwoRegions(t, func(t *testing.T, r twoRegions) {
					s := closing(t, stacks(r)[stack])
					slowest(t, s, 20)
					refuse(r)
					require.LessOrEqual(t, slowest(t, s, 200), 2*time.Second)
					require.LessOrEqual(t, r.home.Stats().Op("Sign").Requests-signatures(r.home), 3, "it is left alone")
				})
			})
		}
	}
}

func TestOutageOfTheOnlyRegionThatDoesNotRefuseIsOverWhenItIs(t *testing.T) {
	above := func(r twoRegions) signer.Builder { return signer.NewBuilder(r.provider()).Timeout(10 * time.Second) }
	for name, stack := range map[string]func(r twoRegions) signer.Builder{
		"defaults": func(r twoRegions) signer.Builder { return signer.NewBuilder(r.provider()).Defaults(signer.Defaults{}) },
		"failover": func(r twoRegions) signer.Builder { return above(r).Failover(failover.Options{}).Timeout(time.Second) },
		"balance":  func(r twoRegions) signer.Builder { return above(r).Balance(balance.Options{}).Timeout(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			inTwoRegions(t, func(t *testing.T, r twoRegions) {
				s := closing(t, stack(r))
				slowest(t, s, 20)
				disable(r.home, r.key)
				for range 20 { // the one that finds out has no retry above
					_, _ = s.SignMessage(nil, []byte("m"), crypto.SHA256)
				}
				r.away.Inject(kmstest.Faults{Internal: 1})
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					_, err := s.WithContext(ctx).SignMessage(nil, []byte("m"), crypto.SHA256)
					cancel()
					require.Error(t, err)
				}
				r.away.Inject(kmstest.Faults{})
				require.LessOrEqual(t, slowest(t, s, 20), 500*time.Millisecond)
			})
		})
	}
}

func TestRegionThatRefusesIsUsedAgainWhenItDoesNot(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		s := r.build(t)
		r.home.Deny(r.key)
		slowest(t, s, 10)
		require.Zero(t, signatures(r.home))
		r.home.Allow(r.key)
		<-time.After(10 * time.Second)
		slowest(t, s, 10)
		require.Equal(t, 10, signatures(r.home))
	})
}

func TestStateTellsWhyARegionIsNotUsed(t *testing.T) {
	for code, refuse := range map[string]func(r twoRegions){
		"AccessDeniedException":    func(r twoRegions) { r.home.Deny(r.key) },
		"DisabledException":        func(r twoRegions) { disable(r.home, r.key) },
		"KMSInvalidStateException": func(r twoRegions) { scheduleDeletion(r.home, r.key) },
	} {
		t.Run(code, func(t *testing.T) {
			inTwoRegions(t, func(t *testing.T, r twoRegions) {
				s := r.build(t)
				const usable = "awskms=[state=usable]"
				require.Equal(t, []string{usable, usable}, keyStates(turret.Inspect(s)))
				refuse(r)
				slowest(t, s, 1)
				require.Equal(t, []string{"awskms=[state=refused refused_with=" + code + "]", usable}, keyStates(turret.Inspect(s)))
				<-time.After(10 * time.Second)
				require.Equal(t, []string{usable, usable}, keyStates(turret.Inspect(s)), "it is to be tried again")
			})
		})
	}
}

// keyStates returns what the keys of a stack say of their state.
func keyStates(n turret.Node) (states []string) {
	if s, ok := n.State(); ok && s.Key == "awskms" {
		states = append(states, s.String())
	}
	for _, below := range n.Below {
		states = append(states, keyStates(below)...)
	}
	return states
}

func TestKeyRefusedInEveryRegionIsAnErrorAtOnce(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		s := r.build(t)
		r.home.Deny(r.key)
		disable(r.away, r.key)
		start := time.Now()
		_, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
		require.ErrorContains(t, err, ":key/"+r.key+": left alone in us-east-1 for 10s: access denied; ")
		require.ErrorContains(t, err, ":key/"+r.key+": left alone in eu-west-1 for 10s: the key is disabled; ")
		require.Equal(t, 2, strings.Count(err.Error(), "signer: "), "each Region's says once which key it is")
		require.LessOrEqual(t, time.Since(start), time.Second)
		require.Error(t, turret.Ready(s))
	})
}

func TestOutageAtHomeIsOutlastedThoughTheOtherRegionRefuses(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, r twoRegions) {
		s := r.build(t)
		r.away.Deny(r.key)
		r.home.Inject(kmstest.Faults{Down: true})
		defer time.AfterFunc(5*time.Second, func() { r.home.Inject(slow(10 * time.Millisecond)) }).Stop()
		require.LessOrEqual(t, slowest(t, s, 10), 7*time.Second)
	})
}
