package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	golangjwt "github.com/golang-jwt/jwt/v5"
)

// leeway is how far the clocks of issuer and verifier may be apart.
const leeway = time.Minute

// maxAnswer bounds what a client reads of an issuer's answer, in bytes.
const maxAnswer = 64 << 10

// verifier checks an issuer's tokens for one audience, under the keys that the
// issuer published.
type verifier struct {
	issuer   string
	audience string
	keys     jose.JSONWebKeySet
}

// newVerifier fetches the issuer's keys. Each must say its algorithm: the header
// of a token, which anybody may have written, is not to choose it.
func newVerifier(ctx context.Context, client *http.Client, issuer, audience string) (*verifier, error) {
	v := &verifier{issuer: issuer, audience: audience}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/.well-known/jwks.json", nil)
	if err != nil {
		return nil, err
	}
	if err := do(client, req, &v.keys); err != nil {
		return nil, fmt.Errorf("the issuer's keys: %w", err)
	}
	for _, key := range v.keys.Keys {
		if !key.IsPublic() || key.KeyID == "" || key.Algorithm == "" {
			return nil, fmt.Errorf("the issuer's keys: key %q, algorithm %q, must be public and have both", key.KeyID, key.Algorithm)
		}
	}
	return v, nil
}

// byGoJose returns the claims of a token that is valid, as go-jose has it.
func (v *verifier) byGoJose(token string) (josejwt.Claims, error) {
	var claims josejwt.Claims
	if err := compact(token); err != nil {
		return claims, err
	}
	var algorithms []jose.SignatureAlgorithm
	for _, name := range v.algorithms() {
		algorithms = append(algorithms, jose.SignatureAlgorithm(name))
	}
	parsed, err := josejwt.ParseSigned(token, algorithms)
	if err != nil {
		return claims, err
	}
	header := parsed.Headers[0]
	key, err := v.key(header.KeyID, header.Algorithm)
	if err != nil {
		return claims, err
	}
	if err := parsed.Claims(key.Key, &claims); err != nil {
		return josejwt.Claims{}, err
	}
	if claims.Expiry == nil { // Validate lets it pass
		return josejwt.Claims{}, errors.New("the token has no exp")
	}
	expected := josejwt.Expected{Issuer: v.issuer, AnyAudience: josejwt.Audience{v.audience}, Time: time.Now()}
	return claims, claims.ValidateWithLeeway(expected, leeway)
}

// byGolangJWT returns the claims of a token that is valid, as golang-jwt has it.
func (v *verifier) byGolangJWT(token string) (golangjwt.RegisteredClaims, error) {
	var claims golangjwt.RegisteredClaims
	if err := compact(token); err != nil {
		return claims, err
	}
	_, err := golangjwt.ParseWithClaims(token, &claims,
		func(t *golangjwt.Token) (any, error) {
			id, _ := t.Header["kid"].(string)
			key, err := v.key(id, t.Method.Alg())
			return key.Key, err
		},
		golangjwt.WithValidMethods(v.algorithms()),
		golangjwt.WithIssuer(v.issuer),
		golangjwt.WithAudience(v.audience),
		golangjwt.WithExpirationRequired(),
		golangjwt.WithIssuedAt(),
		golangjwt.WithLeeway(leeway),
	)
	return claims, err
}

// compact returns an error unless a token is written as tokens are. Decoders pass
// over a newline in it, and the same token would then verify in many spellings: bad
// for whoever keeps a list of those that are revoked, or used.
func compact(token string) error {
	for _, r := range token {
		switch {
		case 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		default:
			return fmt.Errorf("the token has %q in it, which is not of base64url", r)
		}
	}
	return nil
}

// key returns the published key of that id, which is for its own algorithm only.
func (v *verifier) key(id, algorithm string) (jose.JSONWebKey, error) {
	keys := v.keys.Key(id)
	if len(keys) != 1 {
		return jose.JSONWebKey{}, fmt.Errorf("the issuer has %d keys with id %q; a token names one of one", len(keys), id)
	}
	if keys[0].Algorithm != algorithm {
		return jose.JSONWebKey{}, fmt.Errorf("the token is signed with %s; key %s is for %s only", algorithm, id, keys[0].Algorithm)
	}
	return keys[0], nil
}

func (v *verifier) algorithms() []string {
	var names []string
	for _, key := range v.keys.Keys {
		names = append(names, key.Algorithm)
	}
	return names
}

// requestToken asks the issuer for a token.
func requestToken(ctx context.Context, client *http.Client, issuer, subject, audience string) (string, error) {
	form := url.Values{"sub": {subject}, "aud": {audience}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer tokenResponse
	if err := do(client, req, &answer); err != nil {
		return "", fmt.Errorf("a token: %w", err)
	}
	return answer.AccessToken, nil
}

// do decodes the JSON that a request is answered with into v.
func do(client *http.Client, req *http.Request, v any) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", req.Method, req.URL, resp.Status, strings.TrimSpace(string(body)))
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s %s: %w", req.Method, req.URL, err)
	}
	return nil
}
