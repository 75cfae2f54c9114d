package awskms_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/mldsa"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func server(t *testing.T) *kmstest.Server {
	t.Helper()
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	return srv
}

// open builds a signer of a fresh key, with no layer but the verification.
func open(t *testing.T, srv *kmstest.Server, spec types.KeySpec) (*signer.Signer, string) {
	t.Helper()
	id := srv.CreateKey(spec)
	s, err := signer.NewBuilder(awskms.New(srv.Client(), id)).Build(t.Context())
	require.NoError(t, err)
	return s, id
}

func hashed(h crypto.Hash, message []byte) []byte {
	d := h.New()
	d.Write(message)
	return d.Sum(nil)
}

func pss(h crypto.Hash) *rsa.PSSOptions {
	return &rsa.PSSOptions{Hash: h, SaltLength: rsa.PSSSaltLengthAuto}
}

func TestEveryKeySpecSignsWithEveryAlgorithm(t *testing.T) {
	srv := server(t)
	rsaOpts := []crypto.SignerOpts{crypto.SHA256, crypto.SHA384, crypto.SHA512, pss(crypto.SHA256), pss(crypto.SHA384), pss(crypto.SHA512)}
	for spec, opts := range map[types.KeySpec][]crypto.SignerOpts{
		types.KeySpecRsa2048:             rsaOpts,
		types.KeySpecRsa3072:             rsaOpts,
		types.KeySpecRsa4096:             rsaOpts,
		types.KeySpecEccNistP256:         {crypto.SHA256},
		types.KeySpecEccNistP384:         {crypto.SHA384},
		types.KeySpecEccNistP521:         {crypto.SHA512},
		types.KeySpecEccSecgP256k1:       {crypto.SHA256},
		types.KeySpecEccNistEdwards25519: {crypto.Hash(0)},
		types.KeySpecMlDsa44:             {crypto.Hash(0)},
		types.KeySpecMlDsa65:             {crypto.Hash(0)},
		types.KeySpecMlDsa87:             {crypto.Hash(0)},
	} {
		t.Run(string(spec), func(t *testing.T) {
			s, _ := open(t, srv, spec)
			message := []byte("a message")
			for _, o := range opts {
				sig, err := s.SignMessage(nil, message, o)
				require.NoError(t, err)
				require.NoError(t, goVerify(s.Public(), message, sig, o), "SignMessage, %T %v", o, o.HashFunc())

				input := message
				if o.HashFunc() != 0 {
					input = hashed(o.HashFunc(), message)
				}
				sig, err = s.Sign(nil, input, o)
				require.NoError(t, err)
				require.NoError(t, goVerify(s.Public(), message, sig, o), "Sign, %T %v", o, o.HashFunc())
			}
		})
	}
}

func goVerify(pub crypto.PublicKey, message, sig []byte, opts crypto.SignerOpts) error {
	valid := false
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if o, ok := opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(pub, o.Hash, hashed(o.Hash, message), sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.VerifyPKCS1v15(pub, opts.HashFunc(), hashed(opts.HashFunc(), message), sig)
	case *ecdsa.PublicKey:
		valid = ecdsa.VerifyASN1(pub, hashed(opts.HashFunc(), message), sig)
	case *secp256k1.PublicKey: // Go's ECDSA; OpenSSL's word is in examples/interop
		valid = ecdsa.VerifyASN1(pub.ToECDSA(), hashed(opts.HashFunc(), message), sig)
	case ed25519.PublicKey:
		valid = ed25519.Verify(pub, message, sig)
	case *mldsa.PublicKey: // circl's word is in examples/interop
		return mldsa.Verify(pub, message, sig, nil)
	}
	if !valid {
		return fmt.Errorf("%T: signature does not verify", pub)
	}
	return nil
}

func TestRawMessageWithAHashIsHashedHere(t *testing.T) {
	srv := server(t)
	key, err := awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256)).ProvideKey(t.Context())
	require.NoError(t, err)
	message := make([]byte, 10_000) // more than KMS would take
	resp, err := key.Call(t.Context(), signer.Request{Algorithm: signer.ECDSA_SHA_256, MessageType: signer.Raw, Message: message})
	require.NoError(t, err)
	require.NoError(t, goVerify(key.Public(), message, resp.Signature, crypto.SHA256))
}

func TestRawMessageOver4096BytesReachesNoKMS(t *testing.T) {
	srv := server(t)
	s, _ := open(t, srv, types.KeySpecEccNistEdwards25519)
	_, err := s.SignMessage(nil, make([]byte, 4096), crypto.Hash(0))
	require.NoError(t, err)
	_, err = s.SignMessage(nil, make([]byte, 4097), crypto.Hash(0))
	require.ErrorContains(t, err, "the message has 4097 bytes; KMS takes at most 4096 with ED25519_SHA_512, which has no digest")
	require.Equal(t, turret.Permanent, turret.Classify(err))
	require.Equal(t, 1, srv.Stats().Op("Sign").Requests)
}

// sent is what KMS was sent: "RAW 3" is a message of three bytes.
type sent struct {
	awskms.API
	log *[]string
}

func (s sent) Sign(ctx context.Context, in *kms.SignInput, opts ...func(*kms.Options)) (*kms.SignOutput, error) {
	*s.log = append(*s.log, fmt.Sprintf("%s %d", in.MessageType, len(in.Message)))
	return s.API.Sign(ctx, in, opts...)
}

func TestMLDSAMessagesOfAnyLength(t *testing.T) {
	srv := server(t)
	for _, spec := range []types.KeySpec{types.KeySpecMlDsa44, types.KeySpecMlDsa65, types.KeySpecMlDsa87} {
		var log []string
		s, err := signer.NewBuilder(awskms.New(sent{srv.Client(), &log}, srv.CreateKey(spec))).Build(t.Context())
		require.NoError(t, err)
		for _, n := range []int{0, 1, 4096, 4097, 100_000} {
			message := make([]byte, n)
			for i := range message {
				message[i] = byte(i)
			}
			sig, err := s.SignMessage(nil, message, crypto.Hash(0))
			require.NoError(t, err, n)
			require.NoError(t, goVerify(s.Public(), message, sig, nil), n)
			sig, err = s.Sign(nil, message, &mldsa.Options{})
			require.NoError(t, err, n)
			require.NoError(t, goVerify(s.Public(), message, sig, nil), n)
		}
		const mu = "EXTERNAL_MU 64"
		require.Equal(t, []string{mu, mu, "RAW 1", "RAW 1", "RAW 4096", "RAW 4096", mu, mu, mu, mu}, log,
			"an empty message as a long one, for KMS may not take it")
	}
}

func TestCorruptSignatureOfEverySpecIsThrownAway(t *testing.T) {
	srv := server(t)
	for spec, opts := range map[types.KeySpec]crypto.SignerOpts{
		types.KeySpecRsa2048:             crypto.SHA256,
		types.KeySpecEccNistP256:         crypto.SHA256,
		types.KeySpecEccSecgP256k1:       crypto.SHA256,
		types.KeySpecEccNistEdwards25519: crypto.Hash(0),
		types.KeySpecMlDsa44:             crypto.Hash(0),
		types.KeySpecMlDsa65:             crypto.Hash(0),
		types.KeySpecMlDsa87:             crypto.Hash(0),
	} {
		s, _ := open(t, srv, spec)
		srv.Inject(kmstest.Faults{Corrupt: 1})
		_, err := s.SignMessage(nil, []byte("m"), opts)
		require.ErrorIs(t, err, signer.ErrBadSignature, spec)
		srv.Inject(kmstest.Faults{})
		_, err = s.SignMessage(nil, []byte("m"), opts)
		require.NoError(t, err, spec)
	}
}

func TestManyAtOnceThroughTheWholeStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no attempt is too slow, however busy the machine
		srv := server(t)
		for spec, opts := range map[types.KeySpec]crypto.SignerOpts{types.KeySpecEccSecgP256k1: crypto.SHA256, types.KeySpecMlDsa65: crypto.Hash(0)} {
			s, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(spec))).Defaults(signer.Defaults{}).Build(t.Context())
			require.NoError(t, err)
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					message := bytes.Repeat([]byte{byte(i)}, 100*i) // some of them longer than KMS takes
					sig, err := s.SignMessage(nil, message, opts)
					if err == nil {
						err = goVerify(s.Public(), message, sig, opts)
					}
					if err != nil {
						t.Errorf("%s, signature %d: %v", spec, i, err)
					}
				})
			}
			wg.Wait()
		}
	})
}

func TestAliasIsPinnedToTheKeyThatItNamedWhenOpened(t *testing.T) {
	srv := server(t)
	first, second := srv.CreateKey(types.KeySpecEccNistP256), srv.CreateKey(types.KeySpecEccNistP256)
	srv.SetAlias("alias/release", first)
	provider := awskms.New(srv.Client(), "alias/release")
	before, err := signer.NewBuilder(provider).Build(t.Context())
	require.NoError(t, err)
	require.Contains(t, turret.Describe(before), "AWS KMS "+srv.ARN(first))

	srv.SetAlias("alias/release", second)
	_, err = before.SignMessage(nil, nil, crypto.SHA256)
	require.NoError(t, err, "it signs with the key that it opened")
	after, err := signer.NewBuilder(provider).Build(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, before.Public(), after.Public(), "built anew it finds the new key")
}

// An alias that moves and moves while many sign takes no signer along.
func TestAliasMovesOverTheWireWhileManySign(t *testing.T) {
	srv := server(t)
	client, alias := srv.Client(), aws.String("alias/release")
	keys := []string{srv.CreateKey(types.KeySpecEccNistP256), srv.CreateKey(types.KeySpecEccNistP256)}
	_, err := client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: alias, TargetKeyId: &keys[0]})
	require.NoError(t, err)
	open := func() *signer.Signer {
		s, err := signer.NewBuilder(awskms.New(client, *alias)).Build(t.Context())
		require.NoError(t, err)
		return s
	}
	before := open()
	pinned := before.Public().(*ecdsa.PublicKey)

	digest := make([]byte, 32)
	var signing sync.WaitGroup
	for range 64 {
		signing.Go(func() {
			for range 20 {
				sig, err := before.Sign(nil, digest, crypto.SHA256)
				assert.NoError(t, err)
				assert.True(t, ecdsa.VerifyASN1(pinned, digest, sig))
			}
		})
	}
	for i := range 21 { // to the second at last
		_, err := client.UpdateAlias(t.Context(), &kms.UpdateAliasInput{AliasName: alias, TargetKeyId: &keys[(i+1)%2]})
		require.NoError(t, err)
	}
	signing.Wait()
	require.Equal(t, pinned, before.Public())
	require.Contains(t, turret.Describe(before), srv.ARN(keys[0]))

	after := open()
	require.NotEqual(t, pinned, after.Public(), "a restart finds the new key")
	require.Contains(t, turret.Describe(after), srv.ARN(keys[1]))
}

// lying is an API that answers wrongly where a function says so.
type lying struct {
	awskms.API
	publicKey func(*kms.GetPublicKeyOutput)
	sign      func(*kms.SignOutput)
}

func (l lying) GetPublicKey(ctx context.Context, in *kms.GetPublicKeyInput, opts ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
	out, err := l.API.GetPublicKey(ctx, in, opts...)
	if err == nil && l.publicKey != nil {
		l.publicKey(out)
	}
	return out, err
}

func (l lying) Sign(ctx context.Context, in *kms.SignInput, opts ...func(*kms.Options)) (*kms.SignOutput, error) {
	out, err := l.API.Sign(ctx, in, opts...)
	if err == nil && l.sign != nil {
		l.sign(out)
	}
	return out, err
}

// silent is an API that says nothing.
type silent struct{ awskms.API }

func (silent) Sign(context.Context, *kms.SignInput, ...func(*kms.Options)) (*kms.SignOutput, error) {
	return nil, nil
}

func TestClientThatSaysNothingIsAnError(t *testing.T) {
	srv := server(t)
	s, err := signer.NewBuilder(awskms.New(silent{srv.Client()}, srv.CreateKey(types.KeySpecEccNistP256))).Build(t.Context())
	require.NoError(t, err)
	_, err = s.SignMessage(nil, nil, crypto.SHA256)
	require.ErrorContains(t, err, "the KMS client is broken: Sign: the client returned neither an answer nor an error")
	require.Equal(t, turret.Transient, turret.Classify(err))
}

func TestAnswerByAnotherKeyIsErrWrongKey(t *testing.T) {
	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	other := srv.ARN(srv.CreateKey(types.KeySpecEccNistP256))
	for _, skip := range []bool{false, true} {
		b := signer.NewBuilder(awskms.New(lying{API: srv.Client(), sign: func(out *kms.SignOutput) { out.KeyId = &other }}, id))
		if skip {
			b = b.SkipVerify()
		}
		s, err := b.Build(t.Context())
		require.NoError(t, err)
		_, err = s.SignMessage(nil, nil, crypto.SHA256)
		require.ErrorIs(t, err, signer.ErrWrongKey)
		require.Equal(t, turret.Permanent, turret.Classify(err))
		require.ErrorContains(t, err, "if an alias was moved to it")
		require.ErrorContains(t, err, other)
	}
}

func TestCorruptSignatureIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		s, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))).Defaults(signer.Defaults{}).Build(t.Context())
		require.NoError(t, err)
		srv.Inject(kmstest.Faults{Corrupt: 0.5, Seed: 1})
		for range 20 {
			sig, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
			require.NoError(t, err)
			require.NoError(t, goVerify(s.Public(), []byte("m"), sig, crypto.SHA256))
		}
		require.NotZero(t, srv.Stats().Op("Sign").Corrupt)
		require.Equal(t, 20, srv.Stats().Op("Sign").OK)
	})
}

func TestSDKRetriesAreOffWhateverTheClientsSettings(t *testing.T) {
	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	o := srv.Client().Options()
	for name, client := range map[string]*kms.Client{
		"default":       kms.New(o),
		"many attempts": kms.New(o, func(o *kms.Options) { o.RetryMaxAttempts = 9 }),
		"adaptive":      kms.New(o, func(o *kms.Options) { o.RetryMode = aws.RetryModeAdaptive; o.Retryer = nil }),
	} {
		t.Run(name, func(t *testing.T) {
			srv.Inject(kmstest.Faults{})
			s, err := signer.NewBuilder(awskms.New(client, id)).Build(t.Context())
			require.NoError(t, err)
			srv.Inject(kmstest.Faults{Internal: 1})
			before := srv.Stats().Op("Sign").Requests
			_, err = s.SignMessage(nil, nil, crypto.SHA256)
			require.Error(t, err)
			require.Equal(t, 1, srv.Stats().Op("Sign").Requests-before)
		})
	}
}

func TestGrantTokensAndNameAreUsed(t *testing.T) {
	var got [][]string
	srv := server(t)
	spy := spying{srv.Client(), &got}
	key, err := awskms.New(spy, srv.CreateKey(types.KeySpecEccNistP256), awskms.GrantTokens("a", "b"), awskms.Name("vault")).ProvideKey(t.Context())
	require.NoError(t, err)
	_, err = key.Call(t.Context(), signer.Request{Algorithm: signer.ECDSA_SHA_256, MessageType: signer.Digest, Message: make([]byte, 32)})
	require.NoError(t, err)
	require.Equal(t, [][]string{{"a", "b"}, {"a", "b"}}, got)
	require.Equal(t, "vault", key.(interface{ Name() string }).Name())
}

type spying struct {
	awskms.API
	tokens *[][]string
}

func (s spying) GetPublicKey(ctx context.Context, in *kms.GetPublicKeyInput, opts ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
	*s.tokens = append(*s.tokens, in.GrantTokens)
	return s.API.GetPublicKey(ctx, in, opts...)
}

func (s spying) Sign(ctx context.Context, in *kms.SignInput, opts ...func(*kms.Options)) (*kms.SignOutput, error) {
	*s.tokens = append(*s.tokens, in.GrantTokens)
	return s.API.Sign(ctx, in, opts...)
}

func TestOutageOfAnHourInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		s, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))).Defaults(signer.Defaults{}).Build(t.Context())
		require.NoError(t, err)
		sign := func() error { _, err := s.SignMessage(nil, []byte("m"), crypto.SHA256); return err }
		require.NoError(t, sign())

		srv.Inject(kmstest.Faults{Down: true})
		start, asked := time.Now(), 0
		for time.Since(start) < time.Hour {
			begin := time.Now()
			err := sign()
			asked++
			require.Error(t, err)
			require.ErrorContains(t, err, "KMS, or what stands before it, answered HTTP 503")
			require.LessOrEqual(t, time.Since(begin), 10*time.Second, "nothing outlives the timeout")
		}
		require.Less(t, srv.Stats().Op("Sign").Unavailable, 4*3600, "the breaker spares the KMS")

		srv.Inject(kmstest.Faults{})
		begin := time.Now()
		require.NoError(t, sign(), "a call that comes now outlasts the breaker")
		require.Less(t, time.Since(begin), 500*time.Millisecond)
		t.Logf("%d signatures asked for in the outage, %v", asked, srv.Stats().Op("Sign"))
	})
}

func TestCallOutlastsAnOutageShorterThanItsTimeout(t *testing.T) {
	for _, outage := range []time.Duration{time.Second, 3 * time.Second, 5 * time.Second, 8 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			srv := kmstest.NewServer()
			defer srv.Close()
			s, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))).Defaults(signer.Defaults{}).Build(t.Context())
			require.NoError(t, err)
			srv.Inject(kmstest.Faults{Down: true})
			over := time.AfterFunc(outage, func() { srv.Inject(kmstest.Faults{}) })
			defer over.Stop()
			start := time.Now()
			results := make(chan error)
			for range 20 {
				go func() { _, err := s.SignMessage(nil, []byte("m"), crypto.SHA256); results <- err }()
			}
			for range 20 {
				require.NoError(t, <-results, "an outage of %v", outage)
			}
			require.Less(t, time.Since(start), outage+1500*time.Millisecond)
		})
	}
}

func TestThrottledCallsWaitAndSucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		s, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))).Defaults(signer.Defaults{}).Build(t.Context())
		require.NoError(t, err)
		srv.Inject(kmstest.Faults{Throttle: 0.3, Hang: 0.05, Internal: 0.05, Reset: 0.05, Seed: 7})
		for range 200 {
			_, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
			require.NoError(t, err)
		}
	})
}

func TestProviderRefusesWhatCannotWork(t *testing.T) {
	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	noRegion := kms.New(kms.Options{Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")})
	for name, tc := range map[string]struct {
		client awskms.API
		keyID  string
		want   string
	}{
		"no client":                        {nil, id, "the KMS client is nil"},
		"no key id":                        {srv.Client(), "", "the key id is empty"},
		"no region":                        {noRegion, id, "the KMS client has no Region"},
		"a public key that does not parse": {lying{API: srv.Client(), publicKey: func(o *kms.GetPublicKeyOutput) { o.PublicKey = []byte("x") }}, id, "does not parse"},
		"no ARN":                           {lying{API: srv.Client(), publicKey: func(o *kms.GetPublicKeyOutput) { o.KeyId = nil }}, id, "did not say which key it is"},
		"no usage":                         {lying{API: srv.Client(), publicKey: func(o *kms.GetPublicKeyOutput) { o.KeyUsage = "" }}, id, "the key's usage is not said"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signer.NewBuilder(awskms.New(tc.client, tc.keyID)).Build(t.Context())
			require.ErrorContains(t, err, tc.want)
			var e *signer.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, turret.Permanent, turret.Classify(err))
		})
	}
	require.LessOrEqual(t, srv.Stats().Op("GetPublicKey").Requests, 3)
}

func TestKeyThatIsNotWhatKMSSaysIsRefused(t *testing.T) {
	srv := server(t)
	p256 := srv.CreateKey(types.KeySpecEccNistP256)
	const supported = "those supported are RSA_2048, RSA_3072, RSA_4096, ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521, ECC_SECG_P256K1, ECC_NIST_EDWARDS25519, ML_DSA_44, ML_DSA_65, ML_DSA_87"
	mldsa65, err := srv.Client().GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: aws.String(srv.CreateKey(types.KeySpecMlDsa65))})
	require.NoError(t, err)
	unsupported, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	p224, err := x509.MarshalPKIXPublicKey(unsupported.Public())
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		lie  func(*kms.GetPublicKeyOutput)
		want string
	}{
		"SM2":     {func(o *kms.GetPublicKeyOutput) { o.KeySpec = types.KeySpecSm2 }, "the key's spec is SM2; " + supported},
		"new":     {func(o *kms.GetPublicKeyOutput) { o.KeySpec = "ENIGMA" }, "the key's spec is ENIGMA; " + supported},
		"no spec": {func(o *kms.GetPublicKeyOutput) { o.KeySpec = "" }, "the key's spec is not said; " + supported},
		"another curve": {func(o *kms.GetPublicKeyOutput) { o.KeySpec = types.KeySpecEccNistP384 },
			"KMS says that the key's spec is ECC_NIST_P384, and the public key that it gave is of another: ECC_NIST_P256"},
		"another family": {func(o *kms.GetPublicKeyOutput) { o.KeySpec = types.KeySpecRsa2048 },
			"KMS says that the key's spec is RSA_2048, and the public key that it gave is of another: ECC_NIST_P256"},
		"another set of parameters": {func(o *kms.GetPublicKeyOutput) { o.KeySpec, o.PublicKey = types.KeySpecMlDsa44, mldsa65.PublicKey },
			"KMS says that the key's spec is ML_DSA_44, and the public key that it gave is of another: ML_DSA_65"},
		"a curve that KMS has not": {func(o *kms.GetPublicKeyOutput) { o.PublicKey = p224 },
			"KMS says that the key's spec is ECC_NIST_P256, and the public key that it gave is of another: none that is supported"},
		"no algorithm": {func(o *kms.GetPublicKeyOutput) { o.SigningAlgorithms = nil },
			"KMS says that the key signs with nothing, which is of no use here; keys of spec ECC_NIST_P256 are used with ECDSA_SHA_256"},
		"no algorithm of use": {func(o *kms.GetPublicKeyOutput) {
			o.SigningAlgorithms = []types.SigningAlgorithmSpec{types.SigningAlgorithmSpecSm2dsa, types.SigningAlgorithmSpecEcdsaSha384}
		}, "KMS says that the key signs with SM2DSA, ECDSA_SHA_384, which is of no use here; keys of spec ECC_NIST_P256 are used with ECDSA_SHA_256"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := awskms.New(lying{API: srv.Client(), publicKey: tc.lie}, p256).ProvideKey(t.Context())
			require.EqualError(t, err, "signer: "+p256+": "+tc.want)
			require.Equal(t, turret.Permanent, turret.Classify(err))
		})
	}

	key, err := awskms.New(lying{API: srv.Client(), publicKey: func(o *kms.GetPublicKeyOutput) {
		o.SigningAlgorithms = append(o.SigningAlgorithms, "NEW_THING")
	}}, p256).ProvideKey(t.Context())
	require.NoError(t, err, "what is new in KMS does not get in the way")
	require.Equal(t, []signer.Algorithm{signer.ECDSA_SHA_256}, key.(interface{ Algorithms() []signer.Algorithm }).Algorithms())

	key, err = awskms.New(lying{API: srv.Client(), publicKey: func(o *kms.GetPublicKeyOutput) {
		o.SigningAlgorithms = append(o.SigningAlgorithms, o.SigningAlgorithms...)
	}}, p256).ProvideKey(t.Context())
	require.NoError(t, err, "what is said twice is so all the same")
	require.Equal(t, []signer.Algorithm{signer.ECDSA_SHA_256}, key.(interface{ Algorithms() []signer.Algorithm }).Algorithms())
}

func TestKeyIDsAreNotAltered(t *testing.T) {
	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	_, err := awskms.New(srv.Client(), strings.ToUpper(id)).ProvideKey(t.Context())
	require.ErrorContains(t, err, "there is no such key")
	srv.SetAlias("alias/Release", id)
	_, err = awskms.New(srv.Client(), "alias/Release").ProvideKey(t.Context())
	require.NoError(t, err)
	_, err = awskms.New(srv.Client(), "alias/release").ProvideKey(t.Context())
	require.ErrorContains(t, err, "there is no such key")
	for _, name := range []string{srv.ARN(id), id} {
		_, err = awskms.New(srv.Client(), name).ProvideKey(t.Context())
		require.NoError(t, err)
	}
}
