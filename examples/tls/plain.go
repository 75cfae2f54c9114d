package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// plainSigner is a crypto.Signer on the SDK as people write it today. The SDK
// makes three attempts; nothing bounds them, for a crypto.Signer has no context,
// and nothing looks at the signature. It does as much of the job as this load
// asks for: a digest, under the one algorithm that fits the key.
type plainSigner struct {
	client *kms.Client
	keyID  string
	pub    crypto.PublicKey
}

func (s *plainSigner) Public() crypto.PublicKey { return s.pub }

func (s *plainSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	algorithm, messageType := algorithmFor(s.pub, opts)
	out, err := s.client.Sign(context.Background(), &kms.SignInput{
		KeyId:            &s.keyID,
		Message:          digest,
		MessageType:      messageType,
		SigningAlgorithm: algorithm,
	})
	if err != nil {
		return nil, err
	}
	return out.Signature, nil
}

// algorithmFor is the algorithm that TLS 1.3 uses with a key.
func algorithmFor(pub crypto.PublicKey, opts crypto.SignerOpts) (types.SigningAlgorithmSpec, types.MessageType) {
	bits := map[crypto.Hash]string{crypto.SHA256: "256", crypto.SHA384: "384", crypto.SHA512: "512"}[opts.HashFunc()]
	switch pub.(type) {
	case *rsa.PublicKey:
		return types.SigningAlgorithmSpec("RSASSA_PSS_SHA_" + bits), types.MessageTypeDigest
	case ed25519.PublicKey:
		return types.SigningAlgorithmSpecEd25519Sha512, types.MessageTypeRaw
	}
	return types.SigningAlgorithmSpec("ECDSA_SHA_" + bits), types.MessageTypeDigest
}
