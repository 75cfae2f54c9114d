package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// lifetime is how long a token is valid.
const lifetime = 5 * time.Minute

// maxName bounds a subject and an audience, in bytes, of which JSON may make six
// each. An Ed25519 key in a KMS signs the whole token, and takes 4096 at most.
const maxName = 200

// issuer signs tokens with one key under one algorithm, and publishes the key.
// It is safe for concurrent use.
type issuer struct {
	url    string // its name in the claim iss
	key    *signer.Signer
	public jose.JSONWebKey
	log    *slog.Logger
}

// newIssuer returns an issuer of that URL, or says why the key cannot sign under
// the algorithm; an empty one means the first that fits the key. The key's id is
// its thumbprint (RFC 7638), so it needs no register.
func newIssuer(url string, key *signer.Signer, algorithm jose.SignatureAlgorithm, log *slog.Logger) (*issuer, error) {
	fitting := cryptosigner.Opaque(key).Algs()
	if len(fitting) == 0 {
		return nil, fmt.Errorf("no algorithm of JWS here fits a %T", key.Public())
	}
	if algorithm == "" {
		algorithm = fitting[0]
	}
	if !slices.Contains(fitting, algorithm) {
		return nil, fmt.Errorf("the key cannot sign %s; it signs %s", algorithm, list(fitting))
	}
	public := jose.JSONWebKey{Key: key.Public(), Algorithm: string(algorithm), Use: "sig"}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return &issuer{url: url, key: key, public: public, log: log}, nil
}

// token returns a signed token. The end of ctx ends the call of the KMS.
func (i *issuer) token(ctx context.Context, subject, audience string) (string, error) {
	key := jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(i.public.Algorithm),
		Key:       jose.JSONWebKey{Key: cryptosigner.Opaque(i.key.WithContext(ctx)), KeyID: i.public.KeyID},
	}
	jws, err := jose.NewSigner(key, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return "", err
	}
	now := time.Now()
	return jwt.Signed(jws).Claims(jwt.Claims{
		Issuer:   i.url,
		Subject:  subject,
		Audience: jwt.Audience{audience},
		Expiry:   jwt.NewNumericDate(now.Add(lifetime)),
		IssuedAt: jwt.NewNumericDate(now),
		ID:       rand.Text(),
	}).Serialize()
}

// handler serves POST /token, with form values sub and aud, and
// GET /.well-known/jwks.json.
//
// Who may ask for whose token is not this example's subject: a real issuer
// authenticates its callers first.
func (i *issuer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", i.serveToken)
	mux.HandleFunc("GET /.well-known/jwks.json", i.serveKeys)
	return mux
}

func (i *issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	subject, audience := r.PostFormValue("sub"), r.PostFormValue("aud")
	if !isName(subject) || !isName(audience) {
		http.Error(w, fmt.Sprintf("sub and aud must be form values of 1 to %d bytes in UTF-8", maxName), http.StatusBadRequest)
		return
	}
	token, err := i.token(r.Context(), subject, audience)
	if err != nil {
		i.refuse(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, "application/json", tokenResponse{AccessToken: token, TokenType: "Bearer", ExpiresIn: int(lifetime.Seconds())})
}

// refuse answers that there is no token. The error is for the log: it names the
// key, and what is wrong with it is no business of a client's.
func (i *issuer) refuse(w http.ResponseWriter, r *http.Request, err error) {
	class := turret.Outcome(r.Context(), err)
	i.log.ErrorContext(r.Context(), "no token", "class", class, "error", err)
	if class == turret.Permanent {
		http.Error(w, "no token: the issuer's key cannot sign", http.StatusInternalServerError)
		return
	}
	if wait, ok := turret.RetryAfter(err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	http.Error(w, "no token: the issuer's key does not answer now", http.StatusServiceUnavailable)
}

func (i *issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=300")
	writeJSON(w, "application/jwk-set+json", jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.public}})
}

// tokenResponse is that of RFC 6749, section 5.1.
type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
}

// isName reports whether a token can say s as it is: JSON has one character for
// all that is no UTF-8.
func isName(s string) bool { return s != "" && len(s) <= maxName && utf8.ValidString(s) }

func writeJSON(w http.ResponseWriter, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	_ = json.NewEncoder(w).Encode(v) // the client has gone, then
}
