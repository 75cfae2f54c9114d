package awskms_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/logging"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// secrets are what no log may have.
type secrets struct {
	mu    sync.Mutex
	named map[string]string // by themselves
}

func (s *secrets) add(name string, secret []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(secret) > 0 {
		s.named[string(secret)] = name
	}
}

// forms are how a secret might be written. Nine bytes of it are enough to know it.
func forms(secret string) []string {
	beginning := secret[:min(len(secret), 9)]
	numbers := strings.Trim(fmt.Sprint([]byte(beginning)), "[]")
	quoted := fmt.Sprintf("%q", secret[:min(len(secret), 32)]) // of which the beginning is the same, however it goes on
	return []string{
		beginning, quoted[1:min(len(quoted)-1, 20)], numbers, strings.ReplaceAll(numbers, " ", ","),
		hex.EncodeToString([]byte(beginning)), fmt.Sprintf("%X", beginning), fmt.Sprintf("% x", beginning),
		base64.StdEncoding.EncodeToString([]byte(beginning)), base64.URLEncoding.EncodeToString([]byte(beginning)),
	}
}

// requireAbsent fails the test if a text has any of the secrets.
func (s *secrets) requireAbsent(t *testing.T, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret, name := range s.named {
		for _, form := range forms(secret) {
			if strings.Contains(text, form) {
				at := strings.Index(text, form)
				t.Fatalf("%s is in the text as %s: …%s…", name, form, text[max(0, at-200):min(len(text), at+200)])
			}
		}
	}
}

// wiretap learns what goes over the wire and is not to be logged.
type wiretap struct {
	client  kms.HTTPClient
	secrets *secrets
}

func (w wiretap) Do(r *http.Request) (*http.Response, error) {
	request, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(request))
	w.learn(request)
	_, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	w.secrets.add("the request's own signature", []byte(signature))
	resp, err := w.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	w.learn(answer)
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	return resp, err
}

func (w wiretap) learn(body []byte) {
	var said struct{ Message, Signature []byte }
	if json.Unmarshal(body, &said) == nil { // and not an error's message, which is no base64
		w.secrets.add("what is to be signed", said.Message)
		w.secrets.add("a signature", said.Signature)
	}
}

// locked is a buffer that goroutines may share.
type locked struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// TestNothingSecretIsLogged has every layer that can say something say it, at
// level debug, on a bad day, with the texts of errors. Of messages, digests,
// signatures and credentials there is not a word.
func TestNothingSecretIsLogged(t *testing.T) {
	for _, handler := range []struct {
		name string
		make func(io.Writer) slog.Handler
	}{
		{"text", func(w io.Writer) slog.Handler {
			return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		}},
		{"JSON", func(w io.Writer) slog.Handler {
			return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		}},
	} {
		t.Run(handler.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				home := kmstest.NewServer()
				defer home.Close()
				away := home.Replica("eu-west-1")
				secrets := &secrets{named: map[string]string{}}
				var written locked
				logger := slog.New(handler.make(&written))

				key, secret, session := "AKIA"+rand.Text(), rand.Text(), rand.Text()
				for name, s := range map[string]string{"the access key's id": key, "the secret key": secret, "the session token": session} {
					secrets.add(name, []byte(s))
				}
				tapped := func(srv *kmstest.Server) *kms.Client {
					return kms.New(srv.Client().Options(), func(o *kms.Options) {
						o.Credentials = credentials.NewStaticCredentialsProvider(key, secret, session)
						o.HTTPClient = wiretap{o.HTTPClient, secrets}
					})
				}
				faults := kmstest.Faults{
					Latency:  kmstest.LogNormal(15*time.Millisecond, 400*time.Millisecond),
					Throttle: 0.1, Internal: 0.1, Reset: 0.1, Hang: 0.05, Corrupt: 0.1, Quota: 50, Seed: 1,
				}
				ctx := turret.WithObserver(t.Context(), func(ctx context.Context, e turret.Event) {
					logger.DebugContext(ctx, "event", "event", fmt.Sprintf("%+v", e), "error", e.Err)
				})
				hooks := logging.Hooks{Logger: logger, Name: "hook", Relief: slog.LevelDebug, Slow: 1, ErrorText: error.Error}
				for spec, opts := range map[types.KeySpec]crypto.SignerOpts{
					types.KeySpecEccNistP256: crypto.SHA256, types.KeySpecRsa2048: pss(crypto.SHA384),
					types.KeySpecEccNistEdwards25519: crypto.Hash(0), types.KeySpecMlDsa44: crypto.Hash(0),
				} {
					id := home.CreateKey(spec)
					s, err := signer.NewBuilder(awskms.MultiRegion(id, tapped(home), tapped(away))).
						Instrument(func(layer string) signer.Layer {
							return logging.Layer[signer.Request, signer.Response](logging.Options{Logger: logger, Name: layer, ErrorText: error.Error})
						}).
						Timeout(10 * time.Second).
						Concurrency(concurrency.Options{Max: 8, OnWait: hooks.Concurrency}).
						Retry(retry.Options{MaxAttempts: 4, WaitRejected: true, OnRetry: hooks.Retry}).
						Hedge(hedge.Options{Delay: 50 * time.Millisecond, OnHedge: hooks.Hedge, OnWin: hooks.HedgeWon}).
						Failover(failover.Options{OnFailover: hooks.Failover, OnChange: hooks.Replica}).
						RateLimit(ratelimit.Options{Rate: 100, OnWait: hooks.RateLimit}).
						CircuitBreaker(gobreaker.Settings{OnStateChange: hooks.Breaker, Timeout: time.Second}).
						Timeout(500 * time.Millisecond).
						Build(ctx)
					require.NoError(t, err)
					home.Inject(faults)
					away.Inject(faults)
					var calls sync.WaitGroup
					for range 30 {
						message := make([]byte, 200)
						_, _ = rand.Read(message)
						secrets.add("a message", message)
						if h := opts.HashFunc(); h != 0 {
							secrets.add("a digest", hashed(h, message))
						}
						calls.Go(func() {
							sig, err := s.WithContext(ctx).SignMessage(nil, message, opts)
							secrets.add("a signature", sig)
							logger.Debug("done", "error", err, "more", fmt.Sprintf("%+v", err))
							_, err = s.SignContext(ctx, nil, message[:5], crypto.SHA1) // which no key can
							logger.Debug("refused", "error", err)
						})
					}
					calls.Wait()
					logger.Debug("stack", "stack", turret.Describe(s), "ready", turret.Ready(s), "stats", s.Stats(), "state", fmt.Sprintf("%+v", turret.Inspect(s)))
					home.Inject(kmstest.Faults{})
					away.Inject(kmstest.Faults{})
					require.NoError(t, s.Close())
				}
				text := written.buf.String()
				for _, said := range []string{"retry", "hedge sent", "failover", "breaker", "rate limit", "concurrency", "was thrown away", "ThrottlingException"} {
					require.True(t, strings.Contains(text, said), "nobody said %q, and there was nothing to look at", said)
				}
				require.Greater(t, len(secrets.named), 100)
				secrets.requireAbsent(t, text)
			})
		})
	}
}

// TestSecretsAreFoundWhereThereAreAny, or the test above tests nothing.
func TestSecretsAreFoundWhereThereAreAny(t *testing.T) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	for _, text := range []string{
		string(secret), hex.EncodeToString(secret), fmt.Sprintf("%X", secret), base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
		fmt.Sprint(secret), fmt.Sprintf("%q", secret), fmt.Sprintf("%+v", signer.Request{Message: secret}), errors.New(string(secret[:12])).Error(),
		string(must(json.Marshal(map[string]any{"request": signer.Request{Message: secret}}))),
	} {
		found := false
		for _, form := range forms(string(secret)) {
			found = found || strings.Contains("… "+text+" …", form)
		}
		require.True(t, found, "%q", text)
	}
}
