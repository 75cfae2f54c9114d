package kmstest

import (
	"crypto/rand"
	"slices"
	"time"

	"filippo.io/mldsa/mldsacrypto"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

const (
	maxMessage   = 4096
	maxSignature = 6144
)

// A signingRequest is what Sign and Verify have in common.
type signingRequest struct {
	KeyID            string `json:"KeyId"`
	Message          []byte
	MessageType      types.MessageType
	SigningAlgorithm types.SigningAlgorithmSpec
	DryRun           bool
}

// check fills in what was left out and says what the API's model forbids,
// whatever the key.
func (in *signingRequest) check() constraints {
	var c constraints
	c.length("keyId", in.KeyID, 1, maxKeyID)
	c.blob("message", in.Message, maxMessage)
	enum(&c, "signingAlgorithm", in.SigningAlgorithm, in.SigningAlgorithm.Values())
	if in.MessageType == "" {
		in.MessageType = types.MessageTypeRaw
	}
	enum(&c, "messageType", in.MessageType, in.MessageType.Values())
	return c
}

type signOutput struct {
	KeyID            string `json:"KeyId"`
	Signature        []byte
	SigningAlgorithm types.SigningAlgorithmSpec
}

// corrupt spoils the signature and nothing of its shape: the bit is the lowest of
// an ECDSA signature's s and of an RSA signature, one of an Ed25519 signature's S,
// and in an ML-DSA signature the lowest of the number of hints.
func (out *signOutput) corrupt() {
	out.Signature[len(out.Signature)-1] ^= 1
}

func (s *Server) sign(in signingRequest) (*signOutput, error) {
	if err := in.check().err(); err != nil {
		return nil, err
	}
	k, alg, input, err := s.signingKey("Sign", in)
	if err != nil {
		return nil, err
	}
	sig, err := k.private.Sign(rand.Reader, input, alg.opts)
	if err != nil {
		return nil, errInternal()
	}
	return &signOutput{KeyID: s.arn("key/" + k.id), Signature: sig, SigningAlgorithm: in.SigningAlgorithm}, nil
}

type verifyInput struct {
	signingRequest
	Signature []byte
}

type verifyOutput struct {
	KeyID            string `json:"KeyId"`
	SignatureValid   bool
	SigningAlgorithm types.SigningAlgorithmSpec
}

func (s *Server) verify(in verifyInput) (*verifyOutput, error) {
	c := in.check()
	c.blob("signature", in.Signature, maxSignature)
	if err := c.err(); err != nil {
		return nil, err
	}
	k, alg, input, err := s.signingKey("Verify", in.signingRequest)
	if err != nil {
		return nil, err
	}
	// KMS never answers SignatureValid: false.
	if !alg.verify(k.private, input, in.Signature, alg.opts) {
		return nil, refuse("KMSInvalidSignatureException", "")
	}
	return &verifyOutput{KeyID: s.arn("key/" + k.id), SignatureValid: true, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// signingKey finds the key of a request and refuses what it cannot or may not do.
// The input is what the key's private or public half is to be applied to.
func (s *Server) signingKey(op string, in signingRequest) (*material, algorithm, []byte, error) {
	none := algorithm{}
	m, err := s.usableForSigning(op, in.KeyID)
	if err != nil {
		return nil, none, nil, err
	}
	if !slices.Contains(m.signing, in.SigningAlgorithm) {
		return nil, none, nil, refuse("InvalidKeyUsageException", "Algorithm %s is incompatible with key spec %s.", in.SigningAlgorithm, m.spec)
	}
	alg := algorithms[in.SigningAlgorithm]
	if in.MessageType == types.MessageTypeExternalMu {
		alg.opts = mldsacrypto.MLDSAMu
	}
	input, err := alg.input(in)
	if err != nil {
		return nil, none, nil, err
	}
	if in.DryRun {
		return nil, none, nil, errDryRun()
	}
	return m, alg, input, nil
}

// usableForSigning finds a key that is there, allowed, enabled, within its quota
// and made for signing. Its material never changes, so it is used without a lock:
// signatures are made in parallel.
func (s *Server) usableForSigning(op, keyID string) (*material, error) {
	s.family.mu.Lock()
	defer s.family.mu.Unlock()
	k, err := s.lookup(op, keyID)
	if err != nil {
		return nil, err
	}
	if !s.faults.admit(keySpecs[k.spec].pool) {
		return nil, errThrottled()
	}
	if err := k.usable(time.Now()); err != nil {
		return nil, err
	}
	if k.usage != types.KeyUsageTypeSignVerify {
		return nil, refuse("InvalidKeyUsageException", "%s key usage is %s which is not valid for %s.", k.arn, k.usage, op)
	}
	return k.material, nil
}

// input makes of a request's message what the key is applied to.
func (a algorithm) input(in signingRequest) ([]byte, error) {
	switch {
	case in.MessageType == types.MessageTypeRaw && a.raw:
		if a.hash == 0 {
			return in.Message, nil
		}
		return sum(a.hash, in.Message), nil
	case in.MessageType == types.MessageTypeDigest && a.digest:
		if len(in.Message) != a.hash.Size() {
			return nil, errValidation("Digest is invalid length for algorithm %s.", in.SigningAlgorithm)
		}
		if a.rehash {
			return sum(a.hash, in.Message), nil
		}
		return in.Message, nil
	case in.MessageType == types.MessageTypeExternalMu && a.mu:
		if len(in.Message) != muSize {
			return nil, errValidation("Message is invalid length for message type %s.", in.MessageType)
		}
		return in.Message, nil
	}
	return nil, errValidation("Message type %s is incompatible with algorithm %s.", in.MessageType, in.SigningAlgorithm)
}
