package signertest_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
	"github.com/turretgo/turret/signer/signertest"
)

func Example() {
	// In a file of tests, TestConformance is a function of its own.
	TestConformance := func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		provider := awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))
		key, err := signer.NewBuilder(provider).Defaults(signer.Defaults{}).Build(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer key.Close()

		signertest.Run(t, func() crypto.Signer { return key })
	}
	_ = TestConformance
}

// releaseKey is a key of a KMS that knows one algorithm a key.
type releaseKey struct{ crypto.Signer }

// Algorithms tells package signer, and signertest, what can be asked for.
func (releaseKey) Algorithms() []signer.Algorithm {
	return []signer.Algorithm{signer.RSASSA_PSS_SHA_256}
}

func ExampleRun_deviations() {
	var t *testing.T
	var key *rsa.PrivateKey

	signertest.Run(t, func() crypto.Signer { return releaseKey{key} },
		signertest.MayTrustOptions, signertest.MayPanicWithoutRand)
}
