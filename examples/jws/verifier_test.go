package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/go-jose/go-jose/v4"
	golangjwt "github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// bothRefuse checks that neither library takes the token.
func bothRefuse(t testing.TB, v *verifier, token, why string) {
	t.Helper()
	_, err := v.byGoJose(token)
	require.Error(t, err, "go-jose: %s", why)
	_, err = v.byGolangJWT(token)
	require.Error(t, err, "golang-jwt: %s", why)
}

func bothAccept(t testing.TB, v *verifier, token string) {
	t.Helper()
	_, err := v.byGoJose(token)
	require.NoError(t, err)
	_, err = v.byGolangJWT(token)
	require.NoError(t, err)
}

func TestATamperedTokenIsRefused(t *testing.T) {
	srv, client := newServer(t), newClient(t)
	for _, spec := range []types.KeySpec{types.KeySpecRsa2048, types.KeySpecEccNistP256, types.KeySpecEccNistEdwards25519} {
		i := serve(t, srv, spec, "", defaults)
		v, err := newVerifier(t.Context(), client, i.url, audience)
		require.NoError(t, err)
		token, err := requestToken(t.Context(), client, i.url, "alice", audience)
		require.NoError(t, err)
		bothAccept(t, v, token)

		parts := strings.Split(token, ".")
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		require.NoError(t, err)
		mallory := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), "alice", "mallory", 1)))
		require.NotEqual(t, parts[1], mallory)
		bothRefuse(t, v, parts[0]+"."+mallory+"."+parts[2], "another payload")

		sig, err := base64.RawURLEncoding.DecodeString(parts[2])
		require.NoError(t, err)
		sig[10] ^= 1
		bothRefuse(t, v, parts[0]+"."+parts[1]+"."+base64.RawURLEncoding.EncodeToString(sig), "another signature")
		bothRefuse(t, v, parts[0]+"."+parts[1]+".", "no signature")
		bothRefuse(t, v, token[:len(token)-5]+"\r\n"+token[len(token)-5:], "a newline in the signature")
		bothRefuse(t, v, "", "no token")
	}
}

func TestAnotherKeysTokenIsRefused(t *testing.T) {
	srv, client := newServer(t), newClient(t)
	i := serve(t, srv, types.KeySpecEccNistP256, "", defaults)
	other := serve(t, srv, types.KeySpecEccNistP256, "", defaults)
	v, err := newVerifier(t.Context(), client, i.url, audience)
	require.NoError(t, err)

	other.url = i.url
	token, err := other.token(t.Context(), "alice", audience)
	require.NoError(t, err)
	bothRefuse(t, v, token, "the key is not published")
	other.public.KeyID = i.public.KeyID
	token, err = other.token(t.Context(), "alice", audience)
	require.NoError(t, err)
	bothRefuse(t, v, token, "another key under the published one's name")
}

// TestTheHeaderDoesNotChooseTheAlgorithm: each token here verifies under the
// published key by what its own header says.
func TestTheHeaderDoesNotChooseTheAlgorithm(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	spki, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	v := &verifier{issuer: "https://issuer", audience: audience, keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: private.Public(), KeyID: "rsa", Algorithm: "RS256"},
		{Key: ec.Public(), KeyID: "ec", Algorithm: "ES256"}, // another algorithm that the issuer does use
		{Key: private.Public(), KeyID: "pss", Algorithm: "PS384"},
	}}}
	sign := func(method golangjwt.SigningMethod, id string, key any) string {
		token := golangjwt.NewWithClaims(method, goodClaims())
		token.Header["kid"] = id
		signed, err := token.SignedString(key)
		require.NoError(t, err)
		return signed
	}
	bothAccept(t, v, sign(golangjwt.SigningMethodRS256, "rsa", private))
	bothAccept(t, v, sign(golangjwt.SigningMethodES256, "ec", ec))
	bothAccept(t, v, sign(golangjwt.SigningMethodPS384, "pss", private))
	bothRefuse(t, v, sign(golangjwt.SigningMethodRS512, "rsa", private), "a hash that nobody published")
	bothRefuse(t, v, sign(golangjwt.SigningMethodPS384, "rsa", private), "another key's algorithm")
	bothRefuse(t, v, sign(golangjwt.SigningMethodRS256, "pss", private), "another key's algorithm")
	bothRefuse(t, v, sign(golangjwt.SigningMethodHS256, "rsa", publicPEM), "a MAC under the public key")
	bothRefuse(t, v, sign(golangjwt.SigningMethodNone, "rsa", golangjwt.UnsafeAllowNoneSignatureType), "alg none")
	bothRefuse(t, v, sign(golangjwt.SigningMethodRS256, "", private), "no kid")
}

func goodClaims() golangjwt.MapClaims {
	now := time.Now()
	return golangjwt.MapClaims{"iss": "https://issuer", "sub": "alice", "aud": []string{audience}, "iat": now.Unix(), "exp": now.Add(lifetime).Unix()}
}

func TestClaimsThatDoNotHoldAreRefused(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	v := &verifier{issuer: "https://issuer", audience: audience, keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k", Algorithm: "EdDSA"}}}}
	sign := func(claim string, value any) string {
		claims := goodClaims()
		claims[claim] = value
		if value == nil {
			delete(claims, claim)
		}
		token := golangjwt.NewWithClaims(golangjwt.SigningMethodEdDSA, claims)
		token.Header["kid"] = "k"
		signed, err := token.SignedString(private)
		require.NoError(t, err)
		return signed
	}
	now := time.Now()
	bothAccept(t, v, sign("sub", "bob"))
	bothAccept(t, v, sign("exp", now.Add(-leeway/2).Unix()))
	bothAccept(t, v, sign("aud", []string{"https://other.example.com", audience}))
	bothRefuse(t, v, sign("exp", now.Add(-2*leeway).Unix()), "expired")
	bothRefuse(t, v, sign("exp", nil), "never expires")
	bothRefuse(t, v, sign("iat", now.Add(2*leeway).Unix()), "issued in the future")
	bothRefuse(t, v, sign("nbf", now.Add(2*leeway).Unix()), "not valid yet")
	bothRefuse(t, v, sign("iss", "https://mallory"), "another issuer")
	bothRefuse(t, v, sign("aud", "https://other.example.com"), "another audience")
	bothRefuse(t, v, sign("aud", nil), "no audience")
}

func TestAVerifierNeedsKeysItCanPin(t *testing.T) {
	for body, want := range map[string]string{
		`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`:                `key "k", algorithm "", must be public and have both`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`:            `key "", algorithm "EdDSA", must be public`,
		`{"keys":[{"kty":"oct","kid":"k","alg":"HS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3"}]}`: "must be public",
		`hello`: "GET ",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		_, err := newVerifier(t.Context(), srv.Client(), srv.URL, audience)
		srv.Close()
		require.ErrorContains(t, err, want)
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	_, err := newVerifier(t.Context(), srv.Client(), srv.URL, audience)
	require.ErrorContains(t, err, "404 Not Found")
}
