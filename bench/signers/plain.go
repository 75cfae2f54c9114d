package signers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"io"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// plain is a crypto.Signer on the SDK as people write it: three attempts, which
// are the SDK's, no bound in time, and no look at the signature.
type plain struct {
	client *kms.Client
	keyID  string
	pub    crypto.PublicKey
}

func openPlain(ctx context.Context, t Target) (*Signer, error) {
	client := t.Client
	if client == nil {
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, err
		}
		client = kms.NewFromConfig(cfg)
	}
	out, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &t.KeyID})
	if err != nil {
		return nil, err
	}
	pub, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		return nil, err
	}
	return withoutContext(&plain{client, t.KeyID, pub}), nil
}

func (s *plain) Public() crypto.PublicKey { return s.pub }

func (s *plain) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	out, err := s.client.Sign(context.Background(), &kms.SignInput{
		KeyId:            &s.keyID,
		Message:          digest,
		MessageType:      types.MessageTypeDigest,
		SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
	})
	if err != nil {
		return nil, err
	}
	return out.Signature, nil
}

// openVerified is plain, and looks at the signature.
func openVerified(ctx context.Context, t Target) (*Signer, error) {
	s, err := openPlain(ctx, t)
	if err != nil {
		return nil, err
	}
	pub := s.Public()
	sign := s.Sign
	s.Sign = func(ctx context.Context, digest []byte) ([]byte, error) {
		sig, err := sign(ctx, digest)
		if err == nil && !ecdsa.VerifyASN1(pub, digest, sig) {
			return nil, errors.New("the signature does not verify")
		}
		return sig, err
	}
	return s, nil
}
