package signers

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/config"
	sigstore "github.com/sigstore/sigstore/pkg/signature/kms/aws"
	"go.step.sm/crypto/kms/apiv1"
	step "go.step.sm/crypto/kms/awskms"
)

// openStep opens the key as the step CA does.
func openStep(ctx context.Context, t Target) (*Signer, error) {
	if t.Client != nil {
		s, err := step.NewSigner(t.Client, t.KeyID)
		if err != nil {
			return nil, err
		}
		return withoutContext(s), nil
	}
	k, err := step.New(ctx, apiv1.Options{})
	if err != nil {
		return nil, err
	}
	s, err := k.CreateSigner(&apiv1.CreateSignerRequest{SigningKey: "awskms:key-id=" + t.KeyID})
	if err != nil {
		return nil, err
	}
	return withoutContext(s), nil
}

// openSigstore opens the key as cosign does. The context that it takes is for the
// life of the signer.
func openSigstore(ctx context.Context, t Target) (*Signer, error) {
	var opts []func(*config.LoadOptions) error
	if t.Client != nil {
		o := t.Client.Options()
		opts = append(opts, config.WithRegion(o.Region), config.WithCredentialsProvider(o.Credentials),
			config.WithHTTPClient(o.HTTPClient), config.WithBaseEndpoint(*o.BaseEndpoint))
	}
	sv, err := sigstore.LoadSignerVerifier(ctx, "awskms:///"+t.KeyID, opts...)
	if err != nil {
		return nil, err
	}
	s, _, err := sv.CryptoSigner(context.WithoutCancel(ctx), func(error) {})
	if err != nil {
		return nil, err
	}
	return withoutContext(s), nil
}
