package signer_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// An account's RSA keys share one quota in a Region, its ECC keys another: one
// Limiter for each is passed to all signers that draw on it.
func ExampleBuilder_severalSignersOfOneAccount() {
	ctx := context.Background()
	srv := kmstest.NewServer() // in production: AWS
	defer srv.Close()

	rsaPool, eccPool := ratelimit.New(1000, 100), ratelimit.New(1000, 100)
	open := func(spec types.KeySpec, pool ratelimit.Limiter) *signer.Signer {
		key, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(spec))).
			Defaults(signer.Defaults{Rate: ratelimit.Options{Limiter: pool}}).
			Build(ctx)
		if err != nil {
			log.Fatal(err)
		}
		return key
	}
	web := open(types.KeySpecEccNistP256, eccPool)
	release := open(types.KeySpecEccNistP384, eccPool) // waits where web has used the pool up
	legacy := open(types.KeySpecRsa2048, rsaPool)      // does not

	signed := 0
	for _, key := range []*signer.Signer{web, release, legacy} {
		defer key.Close()
		opts := key.Algorithms()[0].SignerOpts()
		if _, err := key.SignMessage(nil, []byte("message"), opts); err != nil {
			log.Fatal(err)
		}
		signed++
	}
	fmt.Println(signed, "signatures")
	// Output: 3 signatures
}

// healthz answers 200 while the key can sign. It asks the stack first, which costs
// nothing: an open breaker says so by itself. Then it has something signed, for a
// stack that nobody used knows nothing. Mount it where strangers cannot use up the
// quota.
func healthz(key *signer.Signer, logger *slog.Logger) http.Handler {
	opts := key.Algorithms()[0].SignerOpts()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		err := turret.Ready(key)
		if err == nil {
			_, err = key.WithContext(ctx).SignMessage(nil, []byte("health check"), opts)
		}
		if err != nil {
			logger.Error("health check", "error", err) // for the operator, and not for whoever asks
			http.Error(w, "the key cannot sign: "+turret.Outcome(ctx, err).String(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

// A health check asks turret.Ready, and makes a probe signature.
func ExampleSigner_healthCheck() {
	srv := kmstest.NewServer()
	defer srv.Close()
	id := srv.CreateKey(types.KeySpecEccNistP256)
	key, err := signer.NewBuilder(awskms.New(srv.Client(), id)).Defaults(signer.Defaults{}).Build(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer key.Close()
	mux := http.NewServeMux()
	mux.Handle("/healthz", healthz(key, slog.New(slog.DiscardHandler)))

	check := func() {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	check()
	srv.Deny(id)
	check()
	// Output:
	// 200 ok
	// 503 the key cannot sign: permanent
}
