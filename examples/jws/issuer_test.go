package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/go-jose/go-jose/v4"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// serve runs an issuer with a new key of srv's and the stack that b makes.
func serve(t *testing.T, srv *kmstest.Server, spec types.KeySpec, algorithm jose.SignatureAlgorithm, b func(signer.Builder) signer.Builder) *issuer {
	t.Helper()
	s, err := startServer(newKey(t, srv, spec, b), algorithm, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.close()) })
	return s.issuer
}

func newKey(t *testing.T, srv *kmstest.Server, spec types.KeySpec, b func(signer.Builder) signer.Builder) *signer.Signer {
	t.Helper()
	key, err := b(signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(spec)))).Build(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, key.Close()) })
	return key
}

func defaults(b signer.Builder) signer.Builder { return b.Defaults(signer.Defaults{}) }

func newServer(t *testing.T) *kmstest.Server {
	t.Helper()
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	return srv
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestEveryKeySignsItsAlgorithms(t *testing.T) {
	rsa := []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
	srv, client := newServer(t), newClient(t)
	for spec, algorithms := range map[types.KeySpec][]jose.SignatureAlgorithm{
		types.KeySpecRsa2048:             rsa,
		types.KeySpecRsa3072:             rsa,
		types.KeySpecEccNistP256:         {jose.ES256},
		types.KeySpecEccNistP384:         {jose.ES384},
		types.KeySpecEccNistP521:         {jose.ES512},
		types.KeySpecEccNistEdwards25519: {jose.EdDSA},
	} {
		key := newKey(t, srv, spec, defaults)
		for _, algorithm := range algorithms {
			t.Run(string(spec)+" "+string(algorithm), func(t *testing.T) {
				s, err := startServer(key, algorithm, slog.New(slog.DiscardHandler))
				require.NoError(t, err)
				defer func() { assert.NoError(t, s.close()) }()
				v, err := newVerifier(t.Context(), client, s.issuer.url, audience)
				require.NoError(t, err)
				before := time.Now().Truncate(time.Second)
				token, err := requestToken(t.Context(), client, s.issuer.url, "alice", audience)
				require.NoError(t, err)

				one, err := v.byGoJose(token)
				require.NoError(t, err)
				two, err := v.byGolangJWT(token)
				require.NoError(t, err)
				require.Equal(t, s.issuer.url, two.Issuer)
				require.Equal(t, "alice", two.Subject)
				require.Equal(t, []string{audience}, []string(two.Audience))
				require.False(t, two.IssuedAt.Before(before), two.IssuedAt)
				require.Equal(t, lifetime, two.ExpiresAt.Sub(two.IssuedAt.Time))
				require.Len(t, two.ID, 26)
				require.Equal(t, []any{one.Issuer, one.Subject, one.ID, one.Expiry.Time().Unix()}, []any{two.Issuer, two.Subject, two.ID, two.ExpiresAt.Unix()})

				header := decode(t, strings.Split(token, ".")[0])
				require.Equal(t, map[string]any{"alg": string(algorithm), "kid": s.issuer.public.KeyID, "typ": "JWT"}, header)
			})
		}
	}
}

func TestTokensDiffer(t *testing.T) {
	i := serve(t, newServer(t), types.KeySpecEccNistEdwards25519, jose.EdDSA, defaults) // whose signatures are deterministic
	client := newClient(t)
	one, err := requestToken(t.Context(), client, i.url, "alice", audience)
	require.NoError(t, err)
	two, err := requestToken(t.Context(), client, i.url, "alice", audience)
	require.NoError(t, err)
	require.NotEqual(t, one, two)
}

func decode(t *testing.T, part string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(part)
	require.NoError(t, err)
	var v map[string]any
	require.NoError(t, json.Unmarshal(raw, &v))
	return v
}

func TestThePublishedKeyIsNamedByItsThumbprint(t *testing.T) {
	for spec, members := range map[types.KeySpec][]string{ // the required ones, of RFC 7638 and RFC 8037
		types.KeySpecRsa2048:             {"e", "kty", "n"},
		types.KeySpecEccNistP521:         {"crv", "kty", "x", "y"},
		types.KeySpecEccNistEdwards25519: {"crv", "kty", "x"},
	} {
		i := serve(t, newServer(t), spec, "", defaults)
		resp, err := newClient(t).Get(i.url + "/.well-known/jwks.json")
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, "application/jwk-set+json", resp.Header.Get("Content-Type"))
		var set struct{ Keys []map[string]string }
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&set))
		require.Len(t, set.Keys, 1)
		published := set.Keys[0]
		require.Equal(t, "sig", published["use"])
		require.NotContains(t, published, "d")

		required := map[string]string{}
		for _, name := range members {
			required[name] = published[name]
		}
		canonical, err := json.Marshal(required) // sorted by name
		require.NoError(t, err)
		thumbprint := sha256.Sum256(canonical)
		require.Equal(t, base64.RawURLEncoding.EncodeToString(thumbprint[:]), published["kid"])
	}
}

func TestAKeyThatDoesNotFitIsRefused(t *testing.T) {
	key := newKey(t, newServer(t), types.KeySpecEccNistP256, defaults)
	_, err := newIssuer("http://localhost", key, jose.ES384, nil)
	require.EqualError(t, err, "the key cannot sign ES384; it signs ES256")
}

func TestATokenOfAnotherSubjectIsNotTaken(t *testing.T) {
	var issuing http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ParseForm() == nil && r.PostForm.Has("sub") {
			r.PostForm.Set("sub", "mallory")
		}
		issuing.ServeHTTP(w, r)
	}))
	defer srv.Close()
	i, err := newIssuer(srv.URL, newKey(t, newServer(t), types.KeySpecEccNistP256, defaults), jose.ES256, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	issuing = i.handler()
	client := newClient(t)
	v, err := newVerifier(t.Context(), client, srv.URL, audience)
	require.NoError(t, err)
	got := askAndVerify(t.Context(), client, v, "alice")
	require.NoError(t, got.issue)
	for _, err := range []error{got.byGoJose, got.byGolangJWT} {
		require.EqualError(t, err, `the token is "mallory"'s; "alice" asked for it`)
	}
}

// post asks a handler for a token, with no network between.
func post(ctx context.Context, i *issuer) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/token", strings.NewReader("sub=alice&aud=api"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	i.handler().ServeHTTP(w, r)
	return w
}

func TestAnOutageIsServiceUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		i, err := newIssuer("http://localhost", newKey(t, srv, types.KeySpecEccNistP256, defaults), jose.ES256, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, post(t.Context(), i).Code)
		srv.Inject(kmstest.Faults{Down: true})
		w := post(t.Context(), i)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "no token: the issuer's key does not answer now\n", w.Body.String())
		srv.Inject(kmstest.Faults{})
		require.Equal(t, http.StatusOK, post(t.Context(), i).Code)
	})
}

func TestARefusalSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		key := newKey(t, srv, types.KeySpecEccNistP256, func(b signer.Builder) signer.Builder {
			trip := func(c gobreaker.Counts) bool { return c.ConsecutiveFailures > 0 }
			return b.CircuitBreaker(gobreaker.Settings{Timeout: 29500 * time.Millisecond, ReadyToTrip: trip})
		})
		var log strings.Builder
		i, err := newIssuer("http://localhost", key, jose.ES256, slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)

		srv.Inject(kmstest.Faults{Down: true})
		w := post(t.Context(), i)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Empty(t, w.Header().Values("Retry-After"), "a KMS that is down does not say for how long")
		require.Contains(t, log.String(), "class=transient")

		w = post(t.Context(), i)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "30", w.Header().Get("Retry-After"), "whole seconds, and not too soon")
		require.NotContains(t, w.Body.String(), "access_token")
		require.Contains(t, log.String(), "class=rejected")
		require.Equal(t, 1, srv.Stats().Op("Sign").Requests)
	})
}

func TestADisabledKeyIsAnInternalErrorThatNamesNoKey(t *testing.T) {
	srv := newServer(t)
	keyID := srv.CreateKey(types.KeySpecEccNistP256)
	key, err := signer.NewBuilder(awskms.New(srv.Client(), keyID)).Defaults(signer.Defaults{}).Build(t.Context())
	require.NoError(t, err)
	defer key.Close()
	var log strings.Builder
	i, err := newIssuer("http://localhost", key, jose.ES256, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	srv.Deny(keyID)
	w := post(t.Context(), i)
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Equal(t, "no token: the issuer's key cannot sign\n", w.Body.String())
	require.Contains(t, log.String(), keyID)
}

func TestAClientWhoLeavesCancelsTheSignature(t *testing.T) {
	srv := newServer(t)
	i := serve(t, srv, types.KeySpecEccNistP256, jose.ES256, func(b signer.Builder) signer.Builder { return b.Timeout(time.Hour) })
	srv.Inject(kmstest.Faults{Hang: 1})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	answer := make(chan error, 1)
	client := newClient(t)
	go func() {
		_, err := requestToken(ctx, client, i.url, "alice", audience)
		answer <- err
	}()
	require.Eventually(t, func() bool { return srv.Stats().Op("Sign").InFlight == 1 }, 10*time.Second, time.Millisecond)
	leave()
	require.ErrorIs(t, <-answer, context.Canceled)
	require.Eventually(t, func() bool { return srv.Stats().Op("Sign").InFlight == 0 }, 10*time.Second, time.Millisecond, "the stack waits an hour")
	require.Equal(t, kmstest.Counts{Requests: 1, Hung: 1}, srv.Stats().Op("Sign"))
}

func TestTheIssuerRefusesWhatIsNoRequestForAToken(t *testing.T) {
	srv := newServer(t)
	i := serve(t, srv, types.KeySpecEccNistEdwards25519, jose.EdDSA, defaults)
	client := newClient(t)
	for _, tc := range []struct {
		method, body string
		want         int
	}{
		{http.MethodPost, "", http.StatusBadRequest},
		{http.MethodPost, "sub=alice", http.StatusBadRequest},
		{http.MethodPost, "aud=api", http.StatusBadRequest},
		{http.MethodPost, "aud=api&sub=" + strings.Repeat("a", maxName+1), http.StatusBadRequest},
		{http.MethodPost, "aud=api&sub=alice&x=" + strings.Repeat("a", 1<<20), http.StatusBadRequest},
		{http.MethodGet, "", http.StatusMethodNotAllowed},
		{http.MethodPost, "aud=api&sub=%FF", http.StatusBadRequest}, // which JSON would make the same of as of %FE
		{http.MethodPost, "aud=%FF&sub=alice", http.StatusBadRequest},
		{http.MethodPost, "aud=" + strings.Repeat("%01", maxName) + "&sub=" + strings.Repeat("<", maxName), http.StatusOK}, // six bytes each in JSON
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, i.url+"/token", strings.NewReader(tc.body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := client.Do(req)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, tc.want, resp.StatusCode, tc.body)
		require.Equal(t, tc.want == http.StatusOK, srv.Stats().Op("Sign").Requests > 0, tc.body)
	}
}
