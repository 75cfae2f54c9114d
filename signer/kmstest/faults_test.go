package kmstest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret/signer/kmstest"
)

// arrival makes a Latency of none that closes c when the first request has arrived.
func arrival(c chan struct{}) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration {
		select {
		case <-c:
		default:
			close(c)
		}
		return 0
	}
}

// errorCode is the code that KMS gave, empty for an error that is not KMS's.
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// httpStatus is the status of the answer behind an error.
func httpStatus(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

func TestFaultsOnBothTransports(t *testing.T) {
	for transport, connect := range map[string]func(*kmstest.Server) *kms.Client{
		"memory":   (*kmstest.Server).Client,
		"loopback": overTCP,
	} {
		for _, tt := range []struct {
			name   string
			faults kmstest.Faults
			counts kmstest.Counts
			check  func(*testing.T, error)
		}{
			{"throttle", kmstest.Faults{Throttle: 1}, kmstest.Counts{Requests: 1, Throttled: 1}, func(t *testing.T, err error) {
				assert.Equal(t, "ThrottlingException", errorCode(err))
				assert.Equal(t, http.StatusBadRequest, httpStatus(err))
			}},
			{"internal", kmstest.Faults{Internal: 1}, kmstest.Counts{Requests: 1, Internal: 1}, func(t *testing.T, err error) {
				var internal *types.KMSInternalException
				assert.ErrorAs(t, err, &internal)
				assert.Equal(t, http.StatusInternalServerError, httpStatus(err))
			}},
			{"down", kmstest.Faults{Down: true}, kmstest.Counts{Requests: 1, Unavailable: 1}, func(t *testing.T, err error) {
				assert.Equal(t, http.StatusServiceUnavailable, httpStatus(err))
				var typed *types.KMSInternalException
				assert.False(t, errors.As(err, &typed))
			}},
			{"reset", kmstest.Faults{Reset: 1}, kmstest.Counts{Requests: 1, Reset: 1}, func(t *testing.T, err error) {
				assert.ErrorIs(t, err, syscall.ECONNRESET)
				assert.Zero(t, httpStatus(err))
			}},
		} {
			t.Run(tt.name+" over "+transport, func(t *testing.T) {
				srv := newServer(t)
				id := srv.CreateKey(types.KeySpecEccNistP256)
				client := connect(srv)

				// On a connection that was good until then, too.
				_, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
				require.NoError(t, err)
				srv.Inject(tt.faults)
				_, err = signWith(t.Context(), client, id)
				require.Error(t, err)
				tt.check(t, err)
				assert.Equal(t, tt.counts, srv.Stats().Op("Sign"))

				_, err = client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &id}, once)
				assert.Error(t, err, "faults hold for every operation")

				srv.Inject(kmstest.Faults{})
				_, err = signWith(t.Context(), client, id)
				assert.NoError(t, err)
			})
		}
	}
}

func TestDownAnswersNoJSON(t *testing.T) {
	srv := newServer(t)
	srv.Inject(kmstest.Faults{Down: true})
	res, err := http.Post(srv.Endpoint(), "application/x-amz-json-1.1", strings.NewReader("{}"))
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.Equal(t, "text/html", res.Header.Get("Content-Type"))
	assert.Contains(t, string(body), "<html>")
	http.DefaultClient.CloseIdleConnections()
}

func TestHangLastsUntilTheClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		id := srv.CreateKey(types.KeySpecEccNistP256)
		srv.Inject(kmstest.Faults{Hang: 1})
		client := srv.Client()

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		time.AfterFunc(time.Minute-1, func() {
			assert.Equal(t, kmstest.Counts{Requests: 1, InFlight: 1}, srv.Stats().Op("Sign"))
		})
		_, err := signWith(ctx, client, id)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Minute, time.Since(start))

		synctest.Wait() // for the server to see the client gone
		assert.Equal(t, kmstest.Counts{Requests: 1, Hung: 1}, srv.Stats().Op("Sign"))
	})
}

func TestHangOverTheLoopback(t *testing.T) {
	srv := newServer(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	arrived := make(chan struct{})
	srv.Inject(kmstest.Faults{Hang: 1, Latency: arrival(arrived)})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := signWith(ctx, overTCP(srv), id)
	assert.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool {
		return srv.Stats().Op("Sign") == kmstest.Counts{Requests: 1, Hung: 1}
	}, 5*time.Second, time.Millisecond)
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		id := srv.CreateKey(types.KeySpecEccNistP256)
		client := srv.Client()
		srv.Inject(kmstest.Faults{Latency: func(*rand.Rand) time.Duration { return 2 * time.Second }})

		start := time.Now()
		_, err := signWith(t.Context(), client, id)
		require.NoError(t, err)
		assert.Equal(t, 2*time.Second, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = signWith(ctx, client, id)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		assert.Equal(t, kmstest.Counts{Requests: 2, OK: 1, Canceled: 1}, srv.Stats().Op("Sign"))

		srv.Inject(kmstest.Faults{Latency: func(*rand.Rand) time.Duration { return -time.Second }})
		start = time.Now()
		_, err = signWith(t.Context(), client, id)
		require.NoError(t, err)
		assert.Zero(t, time.Since(start))
	})
}

func TestCorrupt(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	id := srv.CreateKey(types.KeySpecEccNistP256)
	srv.Inject(kmstest.Faults{Corrupt: 1})

	pub, _ := publicKey(t, client, id) // nothing to corrupt in GetPublicKey
	out, err := signWith(t.Context(), client, id)
	require.NoError(t, err)
	sum := sha256.Sum256([]byte("message"))
	assert.False(t, ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), sum[:], out.Signature))
	out.Signature[len(out.Signature)-1] ^= 1
	assert.True(t, ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), sum[:], out.Signature), "all but a bit of it is the signature")

	_, err = signWith(t.Context(), client, "mrk-00000000000000000000000000000000")
	assert.Equal(t, "NotFoundException", errorCode(err))
	assert.Equal(t, kmstest.Counts{Requests: 2, Corrupt: 1, Refused: 1}, srv.Stats().Op("Sign"))
	assert.Equal(t, kmstest.Counts{Requests: 1, OK: 1}, srv.Stats().Op("GetPublicKey"))
}

// What was spoiled by a bit is a signature of the same shape that does not verify,
// every time.
func TestCorruptSpoilsSignaturesOfEverySpec(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	for spec, alg := range map[types.KeySpec]types.SigningAlgorithmSpec{
		types.KeySpecRsa2048:             types.SigningAlgorithmSpecRsassaPkcs1V15Sha256,
		types.KeySpecEccNistP384:         types.SigningAlgorithmSpecEcdsaSha384,
		types.KeySpecEccSecgP256k1:       types.SigningAlgorithmSpecEcdsaSha256,
		types.KeySpecEccNistEdwards25519: types.SigningAlgorithmSpecEd25519Sha512,
		types.KeySpecMlDsa44:             types.SigningAlgorithmSpecMlDsaShake256,
		types.KeySpecMlDsa65:             types.SigningAlgorithmSpecMlDsaShake256,
		types.KeySpecMlDsa87:             types.SigningAlgorithmSpecMlDsaShake256,
	} {
		id := srv.CreateKey(spec)
		srv.Inject(kmstest.Faults{Corrupt: 1})
		for i := range 20 {
			out, err := client.Sign(t.Context(), &kms.SignInput{KeyId: &id, Message: []byte{byte(i)}, SigningAlgorithm: alg}, once)
			require.NoError(t, err)
			verify := func() error {
				_, err := client.Verify(t.Context(), &kms.VerifyInput{KeyId: &id, Message: []byte{byte(i)}, SigningAlgorithm: alg, Signature: out.Signature}, once)
				return err
			}
			requireRefused(t, verify(), "KMSInvalidSignatureException")
			out.Signature[len(out.Signature)-1] ^= 1
			require.NoError(t, verify(), "all but a bit of it is the signature")
		}
	}
}

// fates signs one after another and says what became of each.
func fates(t *testing.T, srv *kmstest.Server, client *kms.Client, id string, n int) []string {
	var fates []string
	for range n {
		before := srv.Stats().Op("Sign")
		signWith(t.Context(), client, id)
		after := srv.Stats().Op("Sign")
		switch {
		case after.OK > before.OK:
			fates = append(fates, "OK")
		case after.Throttled > before.Throttled:
			fates = append(fates, "throttled")
		case after.Internal > before.Internal:
			fates = append(fates, "internal")
		case after.Reset > before.Reset:
			fates = append(fates, "reset")
		case after.Corrupt > before.Corrupt:
			fates = append(fates, "corrupt")
		}
	}
	return fates
}

func TestSeedRepeats(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	id := srv.CreateKey(types.KeySpecEccNistP256)
	faults := kmstest.Faults{
		Seed: 7, Throttle: 0.2, Internal: 0.2, Reset: 0.2, Corrupt: 0.2,
		Latency: func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(1000)) },
	}
	const n = 200
	srv.Inject(faults)
	first := fates(t, srv, client, id, n)
	srv.Inject(faults)
	assert.Equal(t, first, fates(t, srv, client, id, n))
	faults.Seed++
	srv.Inject(faults)
	assert.NotEqual(t, first, fates(t, srv, client, id, n))

	// Each of five fates has probability 0.2: 40 of 200, give or take what a
	// binomial distribution all but never exceeds.
	require.Len(t, first, n)
	for _, fate := range []string{"OK", "throttled", "internal", "reset", "corrupt"} {
		count := len(slices.DeleteFunc(slices.Clone(first), func(f string) bool { return f != fate }))
		assert.InDelta(t, n/5, count, 25, fate)
	}
}

func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		p256, ed25519 := srv.CreateKey(types.KeySpecEccNistP256), srv.CreateKey(types.KeySpecEccNistEdwards25519)
		secp256k1, mldsa := srv.CreateKey(types.KeySpecEccSecgP256k1), srv.CreateKey(types.KeySpecMlDsa44)
		rsa := srv.CreateKey(types.KeySpecRsa2048)
		elsewhere := srv.Replica("eu-west-1")
		client := srv.Client()
		srv.Inject(kmstest.Faults{Quota: 10})

		// admitted is how many of n requests at once are within the quota.
		admitted := func(client *kms.Client, keyID string, alg types.SigningAlgorithmSpec, n int) int {
			count := 0
			for range n {
				_, err := client.Sign(t.Context(), &kms.SignInput{KeyId: &keyID, Message: []byte("message"), SigningAlgorithm: alg}, once)
				if err == nil {
					count++
				} else {
					assert.Equal(t, "ThrottlingException", errorCode(err))
				}
			}
			return count
		}
		assert.Equal(t, 10, admitted(client, p256, types.SigningAlgorithmSpecEcdsaSha256, 15), "a second's worth at once")
		assert.Equal(t, 0, admitted(client, ed25519, types.SigningAlgorithmSpecEd25519Sha512, 5), "ECC keys share a pool")
		assert.Equal(t, 0, admitted(client, secp256k1, types.SigningAlgorithmSpecEcdsaSha256, 5), "ECC keys share a pool")
		assert.Equal(t, 10, admitted(client, mldsa, types.SigningAlgorithmSpecMlDsaShake256, 15), "ML-DSA keys have another")
		assert.Equal(t, 10, admitted(client, rsa, types.SigningAlgorithmSpecRsassaPssSha256, 15), "RSA keys have another")
		assert.Equal(t, 15, admitted(elsewhere.Client(), p256, types.SigningAlgorithmSpecEcdsaSha256, 15), "as has another Region")
		_, err := client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &p256}, once)
		assert.NoError(t, err, "it is for Sign and Verify")
		assert.Equal(t, kmstest.Counts{Requests: 55, OK: 30, Throttled: 25}, srv.Stats().Op("Sign"))

		<-time.After(500 * time.Millisecond)
		assert.Equal(t, 5, admitted(client, p256, types.SigningAlgorithmSpecEcdsaSha256, 15), "refilled at its rate")

		srv.Inject(kmstest.Faults{Quota: 0.5})
		assert.Equal(t, 1, admitted(client, p256, types.SigningAlgorithmSpecEcdsaSha256, 2), "one request at least")
		srv.Inject(kmstest.Faults{Quota: rate.Inf})
		assert.Equal(t, 15, admitted(client, p256, types.SigningAlgorithmSpecEcdsaSha256, 15))
	})
}

func TestInjectPanics(t *testing.T) {
	srv := newServer(t)
	for want, faults := range map[string]kmstest.Faults{
		"kmstest: Inject: the probability Throttle is -0.1: want 0 to 1":                                          {Throttle: -0.1},
		"kmstest: Inject: the probability Internal is NaN: want 0 to 1":                                           {Internal: math.NaN()},
		"kmstest: Inject: the probability Reset is 1.5: want 0 to 1":                                              {Reset: 1.5},
		"kmstest: Inject: the probability Hang is +Inf: want 0 to 1":                                              {Hang: math.Inf(1)},
		"kmstest: Inject: the probability Corrupt is -1: want 0 to 1":                                             {Corrupt: -1},
		"kmstest: Inject: the probabilities add up to 1.25: a request meets one fault at most, so 1 is the limit": {Throttle: 0.75, Hang: 0.5},
		"kmstest: Inject: the rate Quota is -1: want 0 or more":                                                   {Quota: -1},
		"kmstest: Inject: the rate Quota is NaN: want 0 or more":                                                  {Quota: rate.Limit(math.NaN())},
	} {
		assert.PanicsWithValue(t, want, func() { srv.Inject(faults) })
	}
	assert.NotPanics(t, func() { srv.Inject(kmstest.Faults{Throttle: 0.7, Internal: 0.2, Reset: 0.1}) }, "which add up to a rounding error over 1, or under")
}

func TestLogNormal(t *testing.T) {
	latency := kmstest.LogNormal(15*time.Millisecond, 400*time.Millisecond)
	r := rand.New(rand.NewPCG(1, 2))
	const n = 100_000
	samples := make([]time.Duration, n)
	for i := range samples {
		samples[i] = latency(r)
	}
	slices.Sort(samples)
	assert.InEpsilon(t, 15*time.Millisecond, samples[n/2], 0.05)
	assert.InEpsilon(t, 400*time.Millisecond, samples[n*99/100], 0.10)
	assert.Positive(t, samples[0])

	assert.Equal(t, time.Second, kmstest.LogNormal(time.Second, time.Second)(r), "no tail at all")
	for _, bad := range [][2]time.Duration{{0, time.Second}, {-1, 1}, {2, 1}} {
		assert.Panics(t, func() { kmstest.LogNormal(bad[0], bad[1]) })
	}
}
