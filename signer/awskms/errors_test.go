package awskms_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/timeout"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func TestErrorsOfAKeyThatIsGoneSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct {
		befall func(*kmstest.Server, string)
		class  turret.Class
		want   string
		code   string
	}{
		"disabled":         {disable, turret.Permanent, "the key is disabled; enable it", "DisabledException"},
		"pending deletion": {scheduleDeletion, turret.Permanent, "the key's state does not allow it", "KMSInvalidStateException"},
		"access denied":    {(*kmstest.Server).Deny, turret.Permanent, "access denied; the key's policy, or the caller's, must allow kms:Sign", "AccessDeniedException"},
		"throttled":        {inject(kmstest.Faults{Throttle: 1}), turret.Throttled, "over quota", "ThrottlingException"},
		"internal":         {inject(kmstest.Faults{Internal: 1}), turret.Transient, "KMS failed inside", "KMSInternalException"},
		"reset":            {inject(kmstest.Faults{Reset: 1}), turret.Transient, "KMS cannot be reached", ""},
		"down":             {inject(kmstest.Faults{Down: true}), turret.Transient, "KMS, or what stands before it, answered HTTP 503", ""},
	} {
		t.Run(name, func(t *testing.T) {
			srv := server(t)
			s, id := open(t, srv, types.KeySpecEccNistP256)
			tc.befall(srv, id)
			_, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
			require.ErrorContains(t, err, tc.want)
			t.Log(err)
			var e *signer.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, srv.ARN(id), e.KeyID)
			require.Equal(t, tc.class, turret.Outcome(t.Context(), err))
			if tc.code != "" {
				var api smithy.APIError
				require.ErrorAs(t, err, &api)
				require.Equal(t, tc.code, api.ErrorCode())
				require.Contains(t, err.Error(), "(request ", "support asks for the request id")
			}
		})
	}
}

func inject(f kmstest.Faults) func(*kmstest.Server, string) {
	return func(srv *kmstest.Server, _ string) { srv.Inject(f) }
}

func disable(srv *kmstest.Server, id string) {
	if _, err := srv.Client().DisableKey(context.Background(), &kms.DisableKeyInput{KeyId: &id}); err != nil {
		panic(err)
	}
}

func scheduleDeletion(srv *kmstest.Server, id string) {
	if _, err := srv.Client().ScheduleKeyDeletion(context.Background(), &kms.ScheduleKeyDeletionInput{KeyId: &id}); err != nil {
		panic(err)
	}
}

func TestErrorsOfAKeyThatIsNone(t *testing.T) {
	srv := server(t)
	encrypt, err := srv.Client().CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeEncryptDecrypt})
	require.NoError(t, err)
	for name, tc := range map[string]struct{ keyID, want string }{
		"unknown":        {"1234abcd-12ab-34cd-56ef-1234567890ab", "there is no such key here; check the id (an alias's begins with alias/), the account and the Region"},
		"no alias":       {"alias/nobody", "there is no such key here"},
		"other region":   {"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "there is no such key here"},
		"symmetric":      {srv.CreateKey(types.KeySpecSymmetricDefault), "only asymmetric keys sign"},
		"for encryption": {*encrypt.KeyMetadata.KeyId, "the key's usage is ENCRYPT_DECRYPT; a key that signs has SIGN_VERIFY"},
	} {
		t.Run(name, func(t *testing.T) {
			before := srv.Stats().Op("GetPublicKey").Requests
			_, err := signer.NewBuilder(awskms.New(srv.Client(), tc.keyID)).Build(t.Context())
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, tc.keyID)
			t.Log(err)
			var e *signer.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, turret.Permanent, turret.Classify(err))
			require.Equal(t, 1, srv.Stats().Op("GetPublicKey").Requests-before, "it is not asked for again")
		})
	}
}

// at returns a client of whatever answers at a URL.
func at(url string) *kms.Client {
	return kms.New(kms.Options{
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		BaseEndpoint: aws.String(url),
	})
}

func TestEndpointsThatAreNoKMS(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, nobody.Close())
	answer := func(status int, body string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()

	for name, tc := range map[string]struct {
		url   string
		class turret.Class
		want  string
	}{
		"nobody listens":      {"http://" + nobody.Addr().String(), turret.Transient, "KMS cannot be reached: GetPublicKey: Post"},
		"untrusted":           {untrusted.URL, turret.Transient, "the certificate of what answers at KMS's endpoint does not verify"},
		"500 without a body":  {answer(500, ""), turret.Transient, "answered HTTP 500"},
		"502 with HTML":       {answer(502, "<html>bad gateway</html>"), turret.Transient, "answered HTTP 502"},
		"200 that is no JSON": {answer(200, "<html>log in</html>"), turret.Transient, "answered HTTP 200: GetPublicKey: the answer does not read as one of KMS's"},
		"unknown credentials": {answer(400, `{"__type":"UnrecognizedClientException","message":"The security token is invalid."}`), turret.Permanent, "the credentials are not known"},
		"expired credentials": {answer(400, `{"__type":"ExpiredTokenException","message":"expired"}`), turret.Transient, "the credentials have expired"},
		"a limit":             {answer(400, `{"__type":"LimitExceededException","message":"limit"}`), turret.Throttled, "over quota"},
		"still being made":    {answer(400, `{"__type":"KMSInvalidStateException","message":"arn:aws:kms:eu-west-1:1:key/mrk-1 is creating."}`), turret.Transient, "the replica of the key is still being made"},
		"a code unheard of":   {answer(418, `{"__type":"TeapotException","message":"short and stout"}`), turret.Transient, "TeapotException: short and stout"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := awskms.New(at(tc.url), "alias/release").ProvideKey(t.Context())
			require.ErrorContains(t, err, tc.want)
			t.Log(err)
			require.Equal(t, tc.class, turret.Outcome(t.Context(), err))
			var e *signer.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "alias/release", e.KeyID)
		})
	}
}

func TestEndpointWhoseNameIsGone(t *testing.T) {
	client := kms.New(at("http://kms.test").Options(), func(o *kms.Options) {
		o.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "kms.test", IsNotFound: true}
		}}}
	})
	_, err := awskms.New(client, "alias/release").ProvideKey(t.Context())
	require.ErrorContains(t, err, "the name of KMS's endpoint does not resolve: GetPublicKey: ")
	require.Equal(t, turret.Transient, turret.Classify(err))
}

func TestNoCredentials(t *testing.T) {
	srv := server(t)
	client := kms.New(srv.Client().Options(), func(o *kms.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("no role")
		})
	})
	_, err := awskms.New(client, "alias/release").ProvideKey(t.Context())
	require.ErrorContains(t, err, "the SDK has no credentials, or could not renew them; KMS was not asked")
	require.ErrorContains(t, err, "no role")
}

func TestCredentialsThatHangAreNotPutDownToKMS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := kms.New(server(t).Client().Options(), func(o *kms.Options) {
			o.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
				<-ctx.Done()
				return aws.Credentials{}, ctx.Err()
			})
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := awskms.New(client, "alias/release").ProvideKey(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "the SDK had not got credentials in time; KMS was not asked")
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
		require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
	})
}

func TestExpiredCredentialsAreRefreshed(t *testing.T) {
	fetched := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		fmt.Fprint(w, `{"__type":"ExpiredTokenException","message":"expired"}`)
	}))
	defer srv.Close()
	client := kms.New(at(srv.URL).Options(), func(o *kms.Options) {
		o.Credentials = aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			fetched++
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		}))
	})
	provider := awskms.New(client, "alias/release")
	for range 5 {
		_, err := provider.ProvideKey(t.Context())
		require.Equal(t, turret.Transient, turret.Classify(err))
	}
	require.Equal(t, 2, fetched, "once, and not again for what the old ones signed")
}

func TestTheCallersEndIsItsOwnDoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := server(t)
		s, _ := open(t, srv, types.KeySpecEccNistP256)
		srv.Inject(kmstest.Faults{Hang: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := s.SignContext(ctx, nil, make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorContains(t, err, "KMS had not answered in time")
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		_, err = s.SignContext(ctx, nil, make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "given up before KMS had answered", "as losers of hedges are, of a KMS that is in time")
		require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
	})
}

func TestBuildOfACallerWhoHasGoneSaysSoInFewWords(t *testing.T) {
	srv := server(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := signer.NewBuilder(awskms.New(srv.Client(), "alias/release")).Build(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err, "signer: alias/release: given up before KMS had answered: GetPublicKey: context canceled")
}

func TestNothingSecretIsInAnError(t *testing.T) {
	srv := server(t)
	s, _ := open(t, srv, types.KeySpecEccNistEdwards25519)
	srv.Inject(kmstest.Faults{Throttle: 1})
	_, err := s.SignMessage(nil, []byte("attack at dawn"), crypto.Hash(0))
	require.NotContains(t, fmt.Sprintf("%+v", err), "attack")
}

// FuzzPublicKeyAnswer answers GetPublicKey with anything. What becomes of it is a
// key that can be built upon, or an error of one line with a class.
func FuzzPublicKeyAnswer(f *testing.F) {
	srv := kmstest.NewServer()
	defer srv.Close()
	for _, spec := range []types.KeySpec{types.KeySpecEccNistP256, types.KeySpecEccNistEdwards25519, types.KeySpecEccSecgP256k1, types.KeySpecMlDsa44} {
		var honest []byte
		id := srv.CreateKey(spec)
		_, err := awskms.New(kms.New(srv.Client().Options(), func(o *kms.Options) { o.HTTPClient = &tap{client: o.HTTPClient, body: &honest} }), id).ProvideKey(f.Context())
		require.NoError(f, err)
		f.Add(200, "", "", honest)
	}
	f.Add(200, "", "Sat, 01 Jan 0000 00:00:00 GMT", []byte(`{"KeyId":"arn:aws:kms:us-east-1:1:key/a","KeyUsage":"SIGN_VERIFY","PublicKey":"MCow"}`))
	f.Add(400, "", "", []byte(`{"__type":"x#y:z","message":3}`))
	f.Add(400, "KMSInvalidStateException", "", []byte(`{"Message":"creating"}`))
	f.Add(400, "x#AccessDeniedException:http://x", "", []byte(`{}`))
	f.Add(503, "", "", []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, code, date string, body []byte) {
		client := answering(status, code, date, body)
		key, err := awskms.New(client, "alias/release").ProvideKey(t.Context())
		if err != nil {
			requirePlain(t, err)
			require.NotEqual(t, turret.Canceled, turret.Outcome(t.Context(), err))
			return
		}
		_, err = signer.Replicate(key)
		require.NoError(t, err, "a key with a public half that signers take")
	})
}

// FuzzSignAnswer answers Sign with anything. Nothing of it is a signature, as
// nobody has the key.
func FuzzSignAnswer(f *testing.F) {
	srv := kmstest.NewServer()
	defer srv.Close()
	id := srv.CreateKey(types.KeySpecEccNistP256)
	signature := func(keyID string) []byte {
		out, err := srv.Client().Sign(f.Context(), &kms.SignInput{KeyId: &id, Message: []byte("another"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
		require.NoError(f, err)
		body, err := json.Marshal(map[string]any{"KeyId": keyID, "Signature": out.Signature, "SigningAlgorithm": "ECDSA_SHA_256"})
		require.NoError(f, err)
		return body
	}
	honest, err := srv.Client().GetPublicKey(f.Context(), &kms.GetPublicKeyInput{KeyId: &id})
	require.NoError(f, err)
	f.Add(200, "", "", signature("KEY"))
	f.Add(200, "", "", signature("arn:aws:kms:us-east-1:111122223333:key/another"))
	f.Add(200, "", "", []byte(`{"KeyId":"KEY","Signature":""}`))
	f.Add(200, "", "", []byte(`{"KeyId":null,"Signature":[1],"SigningAlgorithm":{}}`))
	f.Add(400, "", "Fri, 31 Dec 9999 23:59:59 GMT", []byte(`{"__type":"InvalidSignatureException"}`))
	f.Add(400, "ThrottlingException", "", []byte(`{"code":[[[]]]}`))
	f.Add(101, "", "", []byte(``))
	f.Fuzz(func(t *testing.T, status int, code, date string, body []byte) {
		// In bodies, KEY stands for the ARN, which is another in each run.
		body = bytes.ReplaceAll(body, []byte("KEY"), []byte(srv.ARN(id)))
		s, err := signer.NewBuilder(awskms.New(opened{answering(status, code, date, body), honest}, id)).Build(t.Context())
		require.NoError(t, err)
		sig, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
		require.Nil(t, sig)
		requirePlain(t, err)
		require.NotEqual(t, turret.Canceled, turret.Outcome(t.Context(), err))
	})
}

// answering returns a client of the SDK of whom every request gets one answer.
func answering(status int, code, date string, body []byte) *kms.Client {
	if status < 100 || status > 599 {
		status = 100 + int(uint(status)%500)
	}
	return kms.New(at("http://kms.test").Options(), func(o *kms.Options) {
		o.HTTPClient = doer(func(*http.Request) (*http.Response, error) {
			h := http.Header{}
			if code != "" {
				h["X-Amzn-Errortype"] = []string{code}
			}
			if date != "" {
				h["Date"] = []string{date}
			}
			return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewReader(body))}, nil
		})
	})
}

// tap keeps what a client was answered.
type tap struct {
	client kms.HTTPClient
	body   *[]byte
}

func (c *tap) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	*c.body, err = io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(*c.body))
	return resp, err
}

// opened is an API with a public key, whoever signs.
type opened struct {
	awskms.API
	publicKey *kms.GetPublicKeyOutput
}

func (o opened) GetPublicKey(context.Context, *kms.GetPublicKeyInput, ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
	return o.publicKey, nil
}

func TestWhatAnEndpointSaysForgesNoLines(t *testing.T) {
	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	forged := "x\n2026-11-21 level=INFO all is well\x1b[2J" + strings.Repeat("y", 1<<15)
	check := func(err error) {
		t.Helper()
		require.Error(t, err)
		require.Less(t, len(err.Error()), 6000)
		require.NotContains(t, err.Error(), "\n")
		require.NotContains(t, err.Error(), "\x1b")
	}
	for name, lie := range map[string]func(*kms.GetPublicKeyOutput){
		"key id": func(o *kms.GetPublicKeyOutput) { o.KeyId = &forged },
		"usage":  func(o *kms.GetPublicKeyOutput) { o.KeyUsage = types.KeyUsageType(forged) },
		"spec":   func(o *kms.GetPublicKeyOutput) { o.KeySpec = types.KeySpec(forged) },
		"algorithms": func(o *kms.GetPublicKeyOutput) {
			o.SigningAlgorithms = []types.SigningAlgorithmSpec{types.SigningAlgorithmSpec(forged)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := awskms.New(lying{API: srv.Client(), publicKey: lie}, id).ProvideKey(t.Context())
			check(err)
		})
	}
	key, err := awskms.New(lying{API: srv.Client(), sign: func(o *kms.SignOutput) { o.KeyId = &forged }}, id).ProvideKey(t.Context())
	require.NoError(t, err)
	_, err = key.Call(t.Context(), signDigest)
	check(err)

	message, _ := json.Marshal(map[string]string{"__type": "ValidationException", "message": forged})
	client := kms.New(srv.Client().Options(), func(o *kms.Options) { o.HTTPClient = canned{400, message} })
	_, err = awskms.New(client, id).ProvideKey(t.Context())
	check(err)
	require.ErrorContains(t, err, "ValidationException: x\uFFFD2026")
}
