// Command anysigner wraps a crypto.Signer of anybody's with retries and time
// limits: here a key in memory that fails every other time, and now and then
// hangs, as a token on a bad cable does. Nothing in the stack is about AWS.
package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
)

// flaky is a crypto.Signer that fails by the clock: of each five signatures two
// fail and one hangs for a while. It takes no context, as no crypto.Signer does.
type flaky struct {
	crypto.Signer
	calls atomic.Int64
}

func (f *flaky) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	switch f.calls.Add(1) % 5 {
	case 1, 3:
		return nil, errors.New("token: communication error")
	case 4:
		<-time.After(2 * time.Second)
	}
	return f.Signer.Sign(r, digest, opts)
}

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(w io.Writer) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	token := &flaky{Signer: private}
	key, err := signer.NewBuilder(signer.Wrap(token, signer.WrapOptions{})).
		Timeout(5 * time.Second).
		Retry(retry.Options{MaxAttempts: 6, Backoff: retry.Backoff{Min: 10 * time.Millisecond}, OnRetry: func(_ context.Context, e retry.Event) {
			fmt.Fprintf(w, "  attempt %d failed, and again in %v: %v\n", e.Attempt, e.Delay.Round(time.Millisecond), e.Err)
		}}).
		Timeout(200 * time.Millisecond).
		Build(context.Background())
	if err != nil {
		return err
	}
	defer key.Close()
	fmt.Fprintf(w, "%s\n\n", turret.Describe(key))

	for i := range 5 {
		message := fmt.Appendf(nil, "message %d", i)
		fmt.Fprintf(w, "%s\n", message)
		sig, err := key.SignMessage(rand.Reader, message, crypto.Hash(0))
		if err != nil {
			return err
		}
		if !ed25519.Verify(public, message, sig) {
			return fmt.Errorf("%s: the signature does not verify", message)
		}
		fmt.Fprintln(w, "  signed")
	}
	fmt.Fprintf(w, "\n5 signatures, %d calls of the token\n", token.calls.Load())
	return nil
}
