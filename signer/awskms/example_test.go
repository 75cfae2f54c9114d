package awskms_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func Example() {
	ctx := context.Background()
	srv := kmstest.NewServer() // in production: AWS, and kms.NewFromConfig for the client
	defer srv.Close()
	srv.SetAlias("alias/release", srv.CreateKey(types.KeySpecEccNistP256))

	key, err := signer.NewBuilder(awskms.New(srv.Client(), "alias/release")).
		Defaults(signer.Defaults{}).
		Build(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer key.Close()

	digest := sha256.Sum256([]byte("turret 1.0"))
	sig, err := key.SignContext(ctx, nil, digest[:], crypto.SHA256)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], sig))
	// Output: true
}

func ExampleOpen() {
	ctx := context.Background()
	provider, err := awskms.Open(ctx, "awskms:///alias/release?region=eu-west-1")
	if err != nil {
		log.Fatal(err)
	}
	key, err := signer.NewBuilder(provider).Defaults(signer.Defaults{}).Build(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer key.Close()
}
