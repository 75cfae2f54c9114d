// Package signers has those who sign with a key in KMS: turret's stack, and what
// people use today. Each is opened as its own documentation says, with its own
// defaults.
package signers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// A Target is a P-256 key in a KMS.
type Target struct {
	KeyID string

	// Client reaches the KMS. Nil leaves that to the contender and to the
	// environment: AWS_ENDPOINT_URL_KMS, AWS_REGION, AWS_CA_BUNDLE and the
	// credentials, which all of them read through the SDK's configuration.
	Client *kms.Client
}

// A Contender opens signers.
type Contender struct {
	Name string
	Note string // what it is, for the tables' legend
	Open func(context.Context, Target) (*Signer, error)
}

// A Signer is an open key.
type Signer struct {
	crypto.Signer
	Sign  func(ctx context.Context, digest []byte) ([]byte, error) // SHA-256; ctx goes as far as the contender takes it
	Close func() error
}

// Public returns the key's public half.
func (s *Signer) Public() *ecdsa.PublicKey {
	pub, _ := s.Signer.Public().(*ecdsa.PublicKey)
	return pub
}

// All are the contenders, those of today first.
func All() []Contender {
	return []Contender{
		{"plain SDK", "some twenty lines around kms.Client", openPlain},
		{"step", "go.step.sm/crypto/kms/awskms", openStep},
		{"sigstore", "github.com/sigstore/sigstore/pkg/signature/kms/aws", openSigstore},
		{"turret", "Defaults(signer.Defaults{})", openTurret},
		{"turret hedged", "the same, with a Hedge around it", openHedged},
	}
}

// Borrowed is turret's stack on a client that it did not make, with a quota that is
// never reached.
var Borrowed = Contender{"turret, no quota, SDK's client", "Defaults, with awskms.New(kms.NewFromConfig(cfg), …) and a Rate out of reach", openBorrowed}

// These are for a fair comparison of costs: the plain signer with a look at each
// signature, and turret's stack with a quota that is never reached, with the look
// and without.
var (
	Verified   = Contender{"plain SDK, verifying", "plain SDK, and ecdsa.VerifyASN1", openVerified}
	Unlimited  = Contender{"turret, no quota", "Defaults, with a Rate out of reach", openUnlimited}
	Unverified = Contender{"turret, no quota, SkipVerify", "and SkipVerify", openUnverified}
)

// Find returns the contender of that name.
func Find(name string) (Contender, error) {
	for _, c := range slices.Concat(All(), []Contender{Told, Borrowed, Verified, Unlimited, Unverified}) {
		if c.Name == name {
			return c, nil
		}
	}
	return Contender{}, fmt.Errorf("there is no signer %q", name)
}

// withoutContext makes a Signer of what takes no context, and is closed by nothing.
func withoutContext(s crypto.Signer) *Signer {
	return &Signer{
		Signer: s,
		Sign:   func(_ context.Context, digest []byte) ([]byte, error) { return s.Sign(nil, digest, crypto.SHA256) },
		Close:  func() error { return nil },
	}
}
