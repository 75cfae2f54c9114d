package signer_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/reconnect"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
)

// Any crypto.Signer gets a stack: a PKCS #11 token, a TPM, another vendor's KMS.
func Example() {
	token, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // stands for the remote key
	if err != nil {
		log.Fatal(err)
	}
	key, err := signer.NewBuilder(signer.Wrap(token, signer.WrapOptions{})).
		Timeout(10 * time.Second).
		Retry(retry.Options{MaxAttempts: 5}).
		RateLimit(ratelimit.Options{Rate: 500, Burst: 50}).
		CircuitBreaker(gobreaker.Settings{Name: "token"}).
		Timeout(2 * time.Second).
		Build(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer key.Close()

	digest := sha256.Sum256([]byte("message"))
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	fmt.Println(ecdsa.VerifyASN1(&token.PublicKey, digest[:], sig), err)
	fmt.Println(turret.Describe(key))
	// Output:
	// true <nil>
	// signer ECDSA P-256
	// timeout 10s
	// retry 5 attempts, backoff 50ms–5s
	// rate limit 500/s, burst 50
	// breaker token (opens for 1m0s)
	// timeout 2s
	// verify
	// *ecdsa.PrivateKey
}

// What a key cannot do is refused at once, with the reason.
func ExampleError() {
	token, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	key, err := signer.NewBuilder(signer.Wrap(token, signer.WrapOptions{})).Build(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	_, err = key.Sign(rand.Reader, make([]byte, 20), crypto.SHA1)
	fmt.Println(err)
	fmt.Println(turret.Classify(err))
	// Output:
	// signer: ECDSA P-256 key cannot sign a SHA-1 digest: it signs with ECDSA_SHA_256, ECDSA_SHA_384, ECDSA_SHA_512 only
	// permanent
}

// A card is pulled in the middle of a signature, and put back. The retry above
// signs with the session that Reconnect opens then.
func ExampleReconnect() {
	card := newCard() // stands for a driver that knows no context
	open := signer.KeyProviderFunc(func(context.Context) (signer.Key, error) {
		session, err := card.open()
		if err != nil {
			return nil, err
		}
		return signer.Wrap(session, signer.WrapOptions{Serial: true, HungAfter: 5 * time.Second}), nil
	})
	key, err := signer.NewBuilder(signer.Reconnect(open, reconnect.Options{
		OnBroken: func(_ context.Context, err error) { fmt.Println("broken:", err) },
	})).
		Timeout(20 * time.Second).
		Retry(retry.Options{MaxAttempts: 5, WaitRejected: true}).
		Timeout(10 * time.Second).
		Build(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer key.Close()

	digest := sha256.Sum256([]byte("message"))
	for range 2 {
		sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		fmt.Println(ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], sig), err)
		card.pull()
	}
	fmt.Println(turret.Describe(key))
	// Output:
	// true <nil>
	// broken: card: CKR_DEVICE_REMOVED
	// true <nil>
	// signer ECDSA P-256
	// timeout 20s
	// retry 5 attempts, backoff 50ms–5s, waits out refusals
	// timeout 10s
	// verify
	// reconnect, backoff 100ms–30s
	// signer_test.cardSigner
}

// card is a key whose sessions end when it is pulled.
type card struct {
	key     *ecdsa.PrivateKey
	session atomic.Int64
}

func newCard() *card {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	return &card{key: key}
}

func (c *card) open() (crypto.Signer, error) { return cardSigner{c, c.session.Load()}, nil }
func (c *card) pull()                        { c.session.Add(1) }

type cardSigner struct {
	card    *card
	session int64
}

func (s cardSigner) Public() crypto.PublicKey { return s.card.key.Public() }
func (s cardSigner) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if s.session != s.card.session.Load() {
		return nil, errors.New("card: CKR_DEVICE_REMOVED")
	}
	return s.card.key.Sign(r, digest, opts)
}
