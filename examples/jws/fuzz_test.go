package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	golangjwt "github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// FuzzVerifier sends any token. One that either library takes has been signed,
// header and payload as they are, and the other library takes it as well.
func FuzzVerifier(f *testing.F) {
	ed := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	ec, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), 1))
	require.NoError(f, err)
	v := &verifier{issuer: "https://issuer", audience: audience, keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: ed.Public(), KeyID: "ed", Algorithm: "EdDSA"},
		{Key: ec.Public(), KeyID: "ec", Algorithm: "ES256"},
	}}}
	claims := golangjwt.MapClaims{"iss": "https://issuer", "sub": "alice", "aud": audience, "exp": 4102444800} // 2100

	signed := make(map[string]bool)
	seed := func(id string, method golangjwt.SigningMethod, key any, ours bool) {
		token := golangjwt.NewWithClaims(method, claims)
		token.Header["kid"] = id
		text, err := token.SignedString(key)
		require.NoError(f, err)
		parts := strings.Split(text, ".")
		if ours {
			signed[parts[0]+"."+parts[1]] = true
			bothAccept(f, v, text)
		} else {
			bothRefuse(f, v, text, "it is not the issuer's")
		}
		f.Add(unbase64(f, parts[0]), unbase64(f, parts[1]), unbase64(f, parts[2]))
		f.Add([]byte(parts[0]), []byte(parts[1]), []byte(parts[2]))
	}
	spki, err := x509.MarshalPKIXPublicKey(ec.Public())
	require.NoError(f, err)
	seed("ed", golangjwt.SigningMethodEdDSA, ed, true)
	seed("ec", golangjwt.SigningMethodES256, ec, true)
	seed("ec", golangjwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), false)
	seed("ed", golangjwt.SigningMethodHS256, []byte(ed.Public().(ed25519.PublicKey)), false)
	seed("ed", golangjwt.SigningMethodNone, golangjwt.UnsafeAllowNoneSignatureType, false)
	payload, err := json.Marshal(claims)
	require.NoError(f, err)
	for _, header := range []string{
		`{"alg":"ES256","kid":"ec"}`, `{"alg":"ES256","kid":["ec"]}`, `{"alg":"EdDSA","kid":"ed","alg":"none"}`,
		`{"alg":"ES256","kid":"ec","b64":false,"crit":["b64"]}`, `{"alg":"ES256","kid":"mine","jwk":{"kty":"EC","crv":"P-256"}}`,
		`{"alg":"EdDSA","kid":"ed","jku":"https://mallory","x5c":["AA"]}`, `{"alg":"ES256"}`, `[]`, `{`, ``,
	} {
		f.Add([]byte(header), payload, make([]byte, 64)) // a signature of zeros, which once passed for one
		f.Add([]byte(header), payload, []byte{})
	}
	f.Add([]byte("a.b"), []byte("c"), []byte("d.e"))
	f.Add([]byte(`{"payload":"","signatures":[{"protected":"","signature":""}]}`), []byte(""), []byte(""))

	f.Fuzz(func(t *testing.T, header, payload, signature []byte) {
		if len(header)+len(payload)+len(signature) > maxAnswer {
			return
		}
		encoded := encode(header) + "." + encode(payload) + "." + encode(signature)
		for _, token := range []string{encoded, string(header) + "." + string(payload) + "." + string(signature), string(header)} {
			_, err := v.byGoJose(token)
			_, err2 := v.byGolangJWT(token)
			if err != nil && err2 != nil {
				continue
			}
			end := strings.LastIndexByte(token, '.')
			require.True(t, signed[token[:max(end, 0)]], "never signed: %q", token)
			require.NoError(t, err, "go-jose")
			require.NoError(t, err2, "golang-jwt")
		}
	})
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unbase64(f *testing.F, text string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(f, err)
	return b
}
