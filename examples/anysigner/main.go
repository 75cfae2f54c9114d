// Command anysigner puts a stack around a crypto.Signer of anybody's: here the
// client of another vendor's KMS, over HTTP, on a bad day. The KMS is a stand-in
// in this process; its signatures are real, and so are its faults: it is
// unavailable, throttles, hangs and resets connections.
//
//	go run ./examples/anysigner
//
// What it takes is in client.go: a client whose SignContext takes a context,
// which Wrap then uses, and a function that says once what the vendor's errors
// mean. Nothing in the stack is about any vendor. The real ones come in the same
// way; turn their own retries off, for the stack has those:
//
//   - GCP: sign with AsymmetricSign of cloud.google.com/go/kms/apiv1. Errors are
//     gRPC's: ResourceExhausted is Throttled; Unavailable, DeadlineExceeded,
//     Aborted and Internal are Transient; NotFound, PermissionDenied,
//     FailedPrecondition and InvalidArgument are Permanent. Set the client's
//     CallOptions.AsymmetricSign to nil, and it neither retries nor sets its own
//     timeout of a minute.
//   - Azure: sign with Sign of azkeys, and make ASN.1 of what comes back for an
//     ECDSA key, which is r and s side by side. Errors are *azcore.ResponseError:
//     go by StatusCode, as here, and by Retry-After in RawResponse. Set
//     policy.RetryOptions.MaxRetries to -1.
//   - Vault: write to transit/sign/… with prehashed set, and decode what follows
//     "vault:v1:". Errors are *api.ResponseError: go by StatusCode. Set
//     api.Config.MaxRetries to 0.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// newSigner puts the stack around a vendor's signer.
func newSigner(ctx context.Context, vendors crypto.Signer, onRetry func(retry.Event)) (*signer.Signer, error) {
	return signer.NewBuilder(signer.Wrap(vendors, signer.WrapOptions{MapError: classify})).
		Timeout(10 * time.Second).
		Retry(retry.Options{
			MaxAttempts: 5,
			OnRetry:     func(_ context.Context, e retry.Event) { onRetry(e) },
		}).
		Timeout(500 * time.Millisecond).
		Build(ctx)
}

func run(ctx context.Context, w io.Writer) error {
	kms := newVendorKMS()
	defer kms.Close()
	client, err := openKey(ctx, kms.URL, "release")
	if err != nil {
		return err
	}
	defer client.Close()
	key, err := newSigner(ctx, client, func(e retry.Event) {
		fmt.Fprintf(w, "  attempt %d: %s, and again in %v: %v\n", e.Attempt, e.Class, e.Delay.Round(time.Millisecond), e.Err)
	})
	if err != nil {
		return err
	}
	defer key.Close()
	fmt.Fprintf(w, "%s\n\n", turret.Describe(key))

	kms.Fail(unavailable, reset, fine, throttle, fine, hang, fine)
	for i := range 4 {
		fmt.Fprintf(w, "signature %d\n", i+1)
		digest := sha256.Sum256(fmt.Append(nil, "message ", i))
		sig, err := key.SignContext(ctx, rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			return err
		}
		if !ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], sig) {
			return errors.New("the signature does not verify")
		}
		fmt.Fprintln(w, "  signed")
	}
	_, err = fmt.Fprintf(w, "\n4 signatures, %d requests\n", kms.Requests())
	return err
}
