package kmstest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/turretgo/turret/signer/kmstest"
)

// The real SDK signs with a real key, and Go's own cryptography agrees.
func Example() {
	srv := kmstest.NewServer()
	defer srv.Close()
	srv.SetAlias("alias/release", srv.CreateKey(types.KeySpecEccNistP256))

	ctx := context.Background()
	client := srv.Client()
	public, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String("alias/release")})
	if err != nil {
		log.Fatal(err)
	}
	signed, err := client.Sign(ctx, &kms.SignInput{
		KeyId:            public.KeyId, // the ARN: an alias may move
		Message:          []byte("hello"),
		SigningAlgorithm: public.SigningAlgorithms[0],
	})
	if err != nil {
		log.Fatal(err)
	}

	key, err := x509.ParsePKIXPublicKey(public.PublicKey)
	if err != nil {
		log.Fatal(err)
	}
	digest := sha256.Sum256([]byte("hello"))
	fmt.Println(signed.SigningAlgorithm, ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), digest[:], signed.Signature))
	// Output: ECDSA_SHA_256 true
}

// A KMS on a bad day: some requests are throttled, some answers are late, and now
// and then a signature does not verify. The seed makes it the same bad day on
// every run.
func ExampleServer_Inject() {
	srv := kmstest.NewServer()
	defer srv.Close()
	keyID := srv.CreateKey(types.KeySpecEccNistP256)
	srv.Inject(kmstest.Faults{
		Seed:     2,
		Latency:  kmstest.LogNormal(100*time.Microsecond, time.Millisecond),
		Throttle: 0.10,
		Corrupt:  0.05,
	})

	client := srv.Client()
	throttled := 0
	for range 100 {
		_, err := client.Sign(context.Background(), &kms.SignInput{
			KeyId:            &keyID,
			Message:          []byte("hello"),
			SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
		}, func(o *kms.Options) { o.Retryer = aws.NopRetryer{} }) // else the SDK hides some of it
		var api smithy.APIError
		if errors.As(err, &api) && api.ErrorCode() == "ThrottlingException" {
			throttled++
		}
	}
	fmt.Println("throttled:", throttled)
	fmt.Println(srv.Stats().Op("Sign"))
	// Output:
	// throttled: 11
	// 100 requests, 87 OK, 2 corrupt, 11 throttled
}

// Two Regions of one account hold the same multi-Region key. One of them fails.
func ExampleServer_Replica() {
	virginia := kmstest.NewServer()
	defer virginia.Close()
	ireland := virginia.Replica("eu-west-1")
	keyID := virginia.CreateKey(types.KeySpecEccNistP256)
	virginia.Inject(kmstest.Faults{Down: true})

	for _, srv := range []*kmstest.Server{virginia, ireland} {
		_, err := srv.Client().Sign(context.Background(), &kms.SignInput{
			KeyId:            &keyID,
			Message:          []byte("hello"),
			SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
		}, func(o *kms.Options) { o.Retryer = aws.NopRetryer{} })
		fmt.Println(srv.Region(), err == nil)
	}
	// Output:
	// us-east-1 false
	// eu-west-1 true
}
