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
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func TestARedirectIsAnErrorAndCredentialsStay(t *testing.T) {
	var elsewhere, asked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()

	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	origin, err := url.Parse(srv.Endpoint())
	require.NoError(t, err)
	honest := httputil.NewSingleHostReverseProxy(origin)
	var redirect atomic.Pointer[http.HandlerFunc]
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := redirect.Load(); to != nil {
			asked.Add(1)
			(*to)(w, r)
			return
		}
		honest.ServeHTTP(w, r)
	}))
	defer front.Close()

	session := credentials.NewStaticCredentialsProvider("AKID", "secret", "session token")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	for client, hc := range map[string]kms.HTTPClient{
		"the SDK's":         nil,
		"the SDK's, frozen": awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true }).Freeze(),
		"net/http's":        &http.Client{Transport: transport},
		"net/http's, eager": &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return nil }},
		"in another API":    &http.Client{Transport: transport},
	} {
		redirect.Store(nil)
		var api awskms.API = kms.New(at(front.URL).Options(), func(o *kms.Options) {
			o.Credentials = session
			if hc != nil {
				o.HTTPClient = hc
			}
		})
		if client == "in another API" {
			api = struct{ awskms.API }{api}
		}
		provider := awskms.New(api, id)
		key, err := provider.ProvideKey(t.Context())
		require.NoError(t, err)
		for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
			for _, to := range []string{other.URL, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), front.URL, "/", "//" + other.Listener.Addr().String(), "file:///etc/passwd", "gopher://x", ":", ""} {
				handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					if to != "" {
						w.Header().Set("Location", to)
					}
					w.WriteHeader(status)
				})
				redirect.Store(&handler)
				for operation, call := range map[string]func() error{
					"GetPublicKey": func() error { _, err := provider.ProvideKey(t.Context()); return err },
					"Sign":         func() error { _, err := key.Call(t.Context(), signDigest); return err },
				} {
					before := asked.Load()
					err := call()
					requirePlain(t, err)
					require.ErrorContains(t, err, operation)
					require.Equal(t, turret.Transient, turret.Classify(err), "%v", err)
					require.Equal(t, int64(1), asked.Load()-before, "%s followed HTTP %d to %q", client, status, to)
				}
			}
		}
	}
	require.Zero(t, elsewhere.Load(), "requests to the other host")
}

func TestAHostThatDNSSendsElsewhereIsSentNothing(t *testing.T) {
	var asked atomic.Int64
	imposter := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	imposter.Config.ErrorLog = log.New(io.Discard, "", 0)
	imposter.StartTLS() // with a certificate of example.com, by an authority that the client trusts
	defer imposter.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(imposter.Certificate())
	client := kms.New(at("https://kms.us-east-1.amazonaws.com").Options(), func(o *kms.Options) {
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
			tr.Proxy = nil
			tr.TLSClientConfig.RootCAs = trusted
			tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { // as a resolver would have it
				return new(net.Dialer).DialContext(ctx, "tcp", imposter.Listener.Addr().String())
			}
		})
	})
	_, err := awskms.New(client, "alias/release").ProvideKey(t.Context())
	require.ErrorContains(t, err, "the certificate of what answers at KMS's endpoint does not verify")
	require.ErrorContains(t, err, "not kms.us-east-1.amazonaws.com")
	require.Zero(t, asked.Load(), "requests, with a signature by the credentials")
}

func TestHTTP2ThatIsNoneIsAnError(t *testing.T) {
	imposter := httptest.NewUnstartedServer(nil)
	imposter.Config.ErrorLog = log.New(io.Discard, "", 0)
	imposter.TLS = &tls.Config{NextProtos: []string{"h2"}}
	frames := []byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\xff\xff\xff\x01\x04\x7f\xff\xff\xff" + strings.Repeat("\xff", 1<<16))
	imposter.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) {
			_, _ = conn.Write(frames)
			_, _ = io.Copy(io.Discard, conn)
		},
	}
	imposter.StartTLS()
	defer imposter.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(imposter.Certificate())
	client := kms.New(at(imposter.URL).Options(), func(o *kms.Options) {
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) { tr.TLSClientConfig.RootCAs = trusted })
	})
	_, err := awskms.New(client, "alias/release").ProvideKey(t.Context())
	require.ErrorContains(t, err, "KMS cannot be reached")
	requirePlain(t, err)
	require.Equal(t, turret.Transient, turret.Classify(err))
}

// liar is a KMS that has a key, and makes of it what it likes.
type liar struct {
	private crypto.Signer
	spec    types.KeySpec
	answer  func(*kms.SignInput) []byte
}

const liarsARN = "arn:aws:kms:us-east-1:111122223333:key/liar"

func (l liar) GetPublicKey(context.Context, *kms.GetPublicKeyInput, ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
	der, err := x509.MarshalPKIXPublicKey(l.private.Public())
	return &kms.GetPublicKeyOutput{
		KeyId:     aws.String(liarsARN),
		KeySpec:   l.spec,
		KeyUsage:  types.KeyUsageTypeSignVerify,
		PublicKey: der,
		SigningAlgorithms: map[types.KeySpec][]types.SigningAlgorithmSpec{
			types.KeySpecEccNistP256:         {types.SigningAlgorithmSpecEcdsaSha256},
			types.KeySpecEccNistEdwards25519: {types.SigningAlgorithmSpecEd25519Sha512},
			types.KeySpecRsa2048:             {types.SigningAlgorithmSpecRsassaPssSha256, types.SigningAlgorithmSpecRsassaPkcs1V15Sha256},
		}[l.spec],
	}, err
}

func (l liar) Sign(_ context.Context, in *kms.SignInput, _ ...func(*kms.Options)) (*kms.SignOutput, error) {
	return &kms.SignOutput{KeyId: in.KeyId, Signature: l.answer(in), SigningAlgorithm: in.SigningAlgorithm}, nil
}

// must is for what fails only if the machine does.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestNoWrongSignatureGetsOut(t *testing.T) {
	ec, ec2 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rsaKey, rsa2 := must(rsa.GenerateKey(rand.Reader, 2048)), must(rsa.GenerateKey(rand.Reader, 2048))
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	_, ed2, _ := ed25519.GenerateKey(rand.Reader)
	another := hashed(crypto.SHA256, []byte("another message"))

	type point struct{ R, S *big.Int }
	der := func(r, s *big.Int) []byte { return must(asn1.Marshal(point{r, s})) }
	signed := func(digest []byte) point {
		var p point
		must(asn1.Unmarshal(must(ecdsa.SignASN1(rand.Reader, ec, digest)), &p))
		return p
	}
	n := elliptic.P256().Params().N
	psssig := func(key *rsa.PrivateKey, h crypto.Hash, digest []byte, salt int) []byte {
		return must(rsa.SignPSS(rand.Reader, key, h, digest, &rsa.PSSOptions{SaltLength: salt}))
	}

	for _, tc := range []struct {
		name string
		spec types.KeySpec
		key  crypto.Signer
		opts crypto.SignerOpts
		lies map[string]func(in *kms.SignInput) []byte
	}{
		{"ECDSA", types.KeySpecEccNistP256, ec, crypto.SHA256, map[string]func(*kms.SignInput) []byte{
			"of another digest": func(*kms.SignInput) []byte { return must(ecdsa.SignASN1(rand.Reader, ec, another)) },
			"by another key":    func(in *kms.SignInput) []byte { return must(ecdsa.SignASN1(rand.Reader, ec2, in.Message)) },
			"of the digest, hashed again": func(in *kms.SignInput) []byte {
				return must(ecdsa.SignASN1(rand.Reader, ec, hashed(crypto.SHA256, in.Message)))
			},
			"as r and s side by side": func(in *kms.SignInput) []byte {
				p := signed(in.Message)
				return append(p.R.FillBytes(make([]byte, 32)), p.S.FillBytes(make([]byte, 32))...)
			},
			"with a byte behind": func(in *kms.SignInput) []byte { return append(must(ecdsa.SignASN1(rand.Reader, ec, in.Message)), 0) },
			"without its last byte": func(in *kms.SignInput) []byte {
				s := must(ecdsa.SignASN1(rand.Reader, ec, in.Message))
				return s[:len(s)-1]
			},
			"with n added to s":     func(in *kms.SignInput) []byte { p := signed(in.Message); return der(p.R, new(big.Int).Add(p.S, n)) },
			"with s negative":       func(in *kms.SignInput) []byte { p := signed(in.Message); return der(p.R, new(big.Int).Neg(p.S)) },
			"of zeros":              func(*kms.SignInput) []byte { return der(new(big.Int), new(big.Int)) },
			"of r and s equal to n": func(*kms.SignInput) []byte { return der(n, n) },
			"of nothing":            func(*kms.SignInput) []byte { return nil },
			"of no bytes":           func(*kms.SignInput) []byte { return []byte{} },
			"of a megabyte":         func(*kms.SignInput) []byte { return make([]byte, 1<<20) },
			"that is the message":   func(in *kms.SignInput) []byte { return in.Message },
		}},
		{"RSA-PSS", types.KeySpecRsa2048, rsaKey, pss(crypto.SHA256), map[string]func(*kms.SignInput) []byte{
			"of another digest":    func(*kms.SignInput) []byte { return psssig(rsaKey, crypto.SHA256, another, 32) },
			"by another key":       func(in *kms.SignInput) []byte { return psssig(rsa2, crypto.SHA256, in.Message, 32) },
			"without salt":         func(in *kms.SignInput) []byte { return psssig(rsaKey, crypto.SHA256, in.Message, 0) },
			"with too long a salt": func(in *kms.SignInput) []byte { return psssig(rsaKey, crypto.SHA256, in.Message, 64) },
			"of another hash":      func(*kms.SignInput) []byte { return psssig(rsaKey, crypto.SHA384, make([]byte, 48), 48) },
			"of PKCS #1 v1.5":      func(in *kms.SignInput) []byte { return must(rsa.SignPKCS1v15(nil, rsaKey, crypto.SHA256, in.Message)) },
			"with a zero before": func(in *kms.SignInput) []byte {
				return append([]byte{0}, psssig(rsaKey, crypto.SHA256, in.Message, 32)...)
			},
			"of zeros":       func(*kms.SignInput) []byte { return make([]byte, 256) },
			"of one":         func(*kms.SignInput) []byte { return append(make([]byte, 255), 1) },
			"of the modulus": func(*kms.SignInput) []byte { return rsaKey.N.Bytes() },
			"with one bit of it wrong": func(in *kms.SignInput) []byte {
				s := psssig(rsaKey, crypto.SHA256, in.Message, 32)
				s[100] ^= 1
				return s
			},
			"with the modulus added": func(in *kms.SignInput) []byte {
				return addModulus(psssig(rsaKey, crypto.SHA256, in.Message, 32), rsaKey)
			},
			"of nothing": func(*kms.SignInput) []byte { return nil },
		}},
		{"RSA PKCS #1 v1.5", types.KeySpecRsa2048, rsaKey, crypto.SHA256, map[string]func(*kms.SignInput) []byte{
			"of another digest": func(*kms.SignInput) []byte { return must(rsa.SignPKCS1v15(nil, rsaKey, crypto.SHA256, another)) },
			"by another key":    func(in *kms.SignInput) []byte { return must(rsa.SignPKCS1v15(nil, rsa2, crypto.SHA256, in.Message)) },
			"of RSA-PSS":        func(in *kms.SignInput) []byte { return psssig(rsaKey, crypto.SHA256, in.Message, 32) },
			"without its hash":  func(in *kms.SignInput) []byte { return must(rsa.SignPKCS1v15(nil, rsaKey, 0, in.Message)) },
			"of another hash": func(*kms.SignInput) []byte {
				return must(rsa.SignPKCS1v15(nil, rsaKey, crypto.SHA512, make([]byte, 64)))
			},
		}},
		{"Ed25519", types.KeySpecEccNistEdwards25519, ed, crypto.Hash(0), map[string]func(*kms.SignInput) []byte{
			"of another message": func(*kms.SignInput) []byte { return ed25519.Sign(ed, another) },
			"by another key":     func(in *kms.SignInput) []byte { return ed25519.Sign(ed2, in.Message) },
			"of the digest":      func(in *kms.SignInput) []byte { return ed25519.Sign(ed, hashed(crypto.SHA512, in.Message)) },
			"of Ed25519ph": func(in *kms.SignInput) []byte {
				return must(ed.Sign(nil, hashed(crypto.SHA512, in.Message), &ed25519.Options{Hash: crypto.SHA512}))
			},
			"with a byte behind": func(in *kms.SignInput) []byte { return append(ed25519.Sign(ed, in.Message), 0) },
			"with L added to s":  func(in *kms.SignInput) []byte { return addOrder(ed25519.Sign(ed, in.Message)) },
			"of zeros":           func(*kms.SignInput) []byte { return make([]byte, 64) },
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, answer := range tc.lies {
				s, err := signer.NewBuilder(awskms.New(liar{tc.key, tc.spec, answer}, liarsARN)).Build(t.Context())
				require.NoError(t, err)
				for range 4 { // some lies are in a signature's random part
					sig, err := s.SignMessage(nil, []byte("m"), tc.opts)
					require.Nil(t, sig, "a signature %s", name)
					require.ErrorIs(t, err, signer.ErrBadSignature, "a signature %s", name)
					require.ErrorContains(t, err, "it was thrown away")
					require.Equal(t, turret.Transient, turret.Classify(err))
				}
			}
			truth := func(in *kms.SignInput) []byte { // so that it is the lies that are found
				o := tc.opts
				if _, ok := o.(*rsa.PSSOptions); ok {
					o = &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash}
				}
				return must(tc.key.Sign(rand.Reader, in.Message, o))
			}
			s, err := signer.NewBuilder(awskms.New(liar{tc.key, tc.spec, truth}, liarsARN)).Build(t.Context())
			require.NoError(t, err)
			_, err = s.SignMessage(nil, []byte("m"), tc.opts)
			require.NoError(t, err)
		})
	}
}

// addModulus makes of an RSA signature the same number, modulo the modulus, where
// that fits.
func addModulus(sig []byte, key *rsa.PrivateKey) []byte {
	sum := new(big.Int).SetBytes(sig)
	return sum.Add(sum, key.N).Bytes()
}

// addOrder makes of an Ed25519 signature the same one with an s out of range.
func addOrder(sig []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := make([]byte, 32)
	for i := range s { // it is little-endian
		s[i] = sig[63-i]
	}
	sum := new(big.Int).SetBytes(s)
	sum.Add(sum, order).FillBytes(s)
	for i := range s {
		sig[63-i] = s[i]
	}
	return sig
}

func TestAKeyThatWasNotAskedForIsRefusedAtBuild(t *testing.T) {
	srv := server(t)
	asked, other := srv.CreateKey(types.KeySpecEccNistP256), srv.CreateKey(types.KeySpecEccNistP256)
	srv.SetAlias("alias/release", asked)
	for _, name := range []string{asked, srv.ARN(asked)} {
		client := misled{srv.Client(), other}
		_, err := signer.NewBuilder(awskms.New(client, name)).Build(t.Context())
		require.ErrorContains(t, err, `KMS answered for key "`+srv.ARN(other)+`" instead`)
		require.Equal(t, turret.Permanent, turret.Classify(err))
	}
	for _, name := range []string{asked, srv.ARN(asked), "alias/release", strings.Replace(srv.ARN(asked), "key/"+asked, "alias/release", 1)} {
		_, err := signer.NewBuilder(awskms.New(srv.Client(), name)).Build(t.Context())
		require.NoError(t, err, name)
	}
}

// misled asks for another key than it is told.
type misled struct {
	awskms.API
	keyID string
}

func (m misled) GetPublicKey(ctx context.Context, in *kms.GetPublicKeyInput, opts ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
	return m.API.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &m.keyID, GrantTokens: in.GrantTokens}, opts...)
}

func TestAnAnswerThatSaysNothingIsAskedForAgain(t *testing.T) {
	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	o := srv.Client().Options()
	var empty atomic.Bool
	inner := o.HTTPClient
	o.HTTPClient = doer(func(r *http.Request) (*http.Response, error) {
		if empty.CompareAndSwap(true, false) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
		}
		return inner.Do(r)
	})
	provider := awskms.New(kms.New(o), id)
	once, err := signer.NewBuilder(provider).Build(t.Context())
	require.NoError(t, err)
	empty.Store(true)
	_, err = once.SignMessage(nil, []byte("m"), crypto.SHA256)
	require.ErrorContains(t, err, "what answered may not be KMS: Sign: the answer does not say which key signed")
	require.Equal(t, turret.Transient, turret.Classify(err))

	s, err := signer.NewBuilder(provider).Defaults(signer.Defaults{}).Build(t.Context())
	require.NoError(t, err)
	empty.Store(true)
	_, err = s.SignMessage(nil, []byte("m"), crypto.SHA256)
	require.NoError(t, err)
}

func TestWhatAnEndpointSaysMovesNoCursor(t *testing.T) {
	const vile = "\x1b]0;owned\x07\x1b[2J\r\nlevel=INFO all is well\x00\x7f\u0085\u009b31m\u2028\u202egnp.exe\ufeff"
	for name, answer := range map[string]func(http.Header) any{
		"the message":    func(http.Header) any { return map[string]string{"__type": "ValidationException", "message": vile} },
		"the Message":    func(http.Header) any { return map[string]string{"__type": "DisabledException", "Message": vile} },
		"the code":       func(http.Header) any { return map[string]string{"__type": vile, "message": "m"} },
		"the other code": func(http.Header) any { return map[string]string{"code": vile} },
		"the header": func(h http.Header) any {
			h["X-Amzn-Errortype"] = []string{vile}
			return map[string]string{}
		},
		"the request id": func(h http.Header) any {
			h["X-Amzn-Requestid"] = []string{vile}
			return map[string]string{"__type": "ThrottlingException"}
		},
		"a list of them":   func(http.Header) any { return []string{vile} },
		"nothing but that": func(http.Header) any { return vile },
	} {
		t.Run(name, func(t *testing.T) {
			client := kms.New(at("http://kms.test").Options(), func(o *kms.Options) {
				o.HTTPClient = doer(func(*http.Request) (*http.Response, error) {
					h := http.Header{}
					body, err := json.Marshal(answer(h))
					return &http.Response{StatusCode: 400, Header: h, Body: io.NopCloser(bytes.NewReader(body))}, err
				})
			})
			_, err := awskms.New(client, "alias/release").ProvideKey(t.Context())
			requirePlain(t, err)
			_, err = awskms.MultiRegion("alias/release", client).ProvideKey(t.Context())
			requirePlain(t, err)
		})
	}
}

// doer is an HTTP client of one function.
type doer func(*http.Request) (*http.Response, error)

func (f doer) Do(r *http.Request) (*http.Response, error) { return f(r) }

// refused is an answer of KMS's with an error code.
func refused(code, message string, h http.Header) *http.Response {
	body := must(json.Marshal(map[string]string{"__type": code, "message": message}))
	return &http.Response{StatusCode: 400, Header: h, Body: io.NopCloser(bytes.NewReader(body))}
}

func TestRetryAfterOfYearsIsNotHeeded(t *testing.T) {
	for _, after := range []string{"315360000", "99999999999999999999", "-1", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"} {
		synctest.Test(t, func(t *testing.T) {
			srv := kmstest.NewServer()
			defer srv.Close()
			o := srv.Client().Options()
			refusals := 0
			inner := o.HTTPClient
			o.HTTPClient = doer(func(r *http.Request) (*http.Response, error) {
				if refusals++; refusals%3 != 0 {
					return refused("ThrottlingException", "Rate exceeded", http.Header{"Retry-After": {after}, "X-Amz-Retry-After": {after}}), nil
				}
				return inner.Do(r)
			})
			start := time.Now()
			s, err := signer.NewBuilder(awskms.New(kms.New(o), srv.CreateKey(types.KeySpecEccNistP256))).
				Retry(retry.Options{MaxAttempts: 3}).Build(t.Context())
			require.NoError(t, err)
			_, err = s.SignMessage(nil, []byte("m"), crypto.SHA256)
			require.NoError(t, err)
			require.Less(t, time.Since(start), 10*time.Second)
		})
	}
}

// clock is a KMS that looks at when requests were signed, as AWS does, and says
// what time it is.
type clock struct {
	inner kms.HTTPClient
	date  func() string // of answers, where that is not the time
}

func (c *clock) Do(r *http.Request) (*http.Response, error) {
	now := time.Now().UTC()
	signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return nil, err
	}
	if off := now.Sub(signed).Abs(); off > 5*time.Minute {
		h := http.Header{"Date": {now.Format(http.TimeFormat)}}
		return refused("InvalidSignatureException", "Signature expired or not yet current", h), nil
	}
	resp, err := c.inner.Do(r)
	if err == nil && c.date != nil {
		resp.Header.Set("Date", c.date())
	}
	return resp, err
}

func TestAWrongDateCostsNoSignature(t *testing.T) {
	for _, date := range []string{
		"Sat, 01 Apr 2000 00:00:00 GMT", "Fri, 01 Oct 1999 00:00:00 GMT", // a bubble's clock begins with the year 2000
		"Sat, 01 Jan 2050 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT",
		"Sat, 01 Jan 0000 00:00:00 GMT", "yesterday", "", strings.Repeat("9", 10_000),
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := kmstest.NewServer()
			defer srv.Close()
			o := srv.Client().Options()
			c := &clock{inner: o.HTTPClient}
			o.HTTPClient = c
			s, err := signer.NewBuilder(awskms.New(kms.New(o), srv.CreateKey(types.KeySpecEccNistP256))).
				Defaults(signer.Defaults{}).Build(t.Context())
			require.NoError(t, err)
			for range 3 {
				for _, lie := range []func() string{func() string { return date }, nil} {
					c.date = lie
					_, err = s.SignMessage(nil, []byte("m"), crypto.SHA256)
					require.NoError(t, err, "an answer was dated %q", date)
				}
			}
		})
	}
}

func TestAClockThatIsWrongFromTheStartIsMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		o := srv.Client().Options()
		c := &clock{inner: o.HTTPClient}
		o.HTTPClient = c
		id := srv.CreateKey(types.KeySpecEccNistP256)
		c.date = func() string { return "Sat, 01 Apr 2000 00:00:00 GMT" }
		client := kms.New(o)
		_, err := client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &id}) // after which the client's clock is wrong
		require.NoError(t, err)
		c.date = nil
		_, err = signer.NewBuilder(awskms.New(client, id)).Build(t.Context())
		require.NoError(t, err)
	})
}

func TestCredentialsThatAreWrongArePermanentWhateverTheDate(t *testing.T) {
	client := kms.New(at("http://kms.test").Options(), func(o *kms.Options) {
		o.HTTPClient = doer(func(*http.Request) (*http.Response, error) {
			return refused("InvalidSignatureException", "The request signature we calculated does not match", http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}), nil
		})
	})
	_, err := awskms.New(client, "alias/release").ProvideKey(t.Context())
	require.ErrorContains(t, err, "the credentials or the Region are wrong")
	require.Equal(t, turret.Permanent, turret.Classify(err))
}
