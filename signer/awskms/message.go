package awskms

import (
	"crypto/sha3"
	"fmt"

	"filippo.io/mldsa"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/signer"
)

// maxMessage is the longest message, in bytes, that KMS takes whole.
const maxMessage = 4096

// message returns what KMS is sent for a request, and how it is to take it.
func (k *key) message(req signer.Request) ([]byte, types.MessageType, error) {
	message := req.Message
	if message == nil {
		message = []byte{} // the SDK's client takes nil for missing
	}
	if req.MessageType != signer.Raw {
		return message, types.MessageType(req.MessageType), nil
	}
	if h := req.Algorithm.Hash(); h != 0 {
		d := h.New()
		d.Write(message)
		return d.Sum(nil), types.MessageTypeDigest, nil
	}
	if pub, ok := k.pub.(*mldsa.PublicKey); ok && !fits(message) {
		return externalMu(pub, message), types.MessageTypeExternalMu, nil
	}
	if len(message) > maxMessage {
		return nil, "", &signer.Error{
			KeyID:     k.arn,
			Algorithm: req.Algorithm,
			Reason:    fmt.Sprintf("the message has %d bytes; KMS takes at most %d with %s, which has no digest; RSA, ECDSA and ML-DSA keys sign messages of any length", len(message), maxMessage, req.Algorithm),
		}
	}
	return message, types.MessageTypeRaw, nil
}

// fits reports whether KMS takes a message whole for sure. Its documentation
// allows an empty one in one place and not in another.
func fits(message []byte) bool { return len(message) >= 1 && len(message) <= maxMessage }

// muSize is the length of μ, and of the public key's hash in it, in bytes.
const muSize = 64

// externalMu is the message representative μ of FIPS 204 (algorithm 2, line 10,
// and algorithm 7, line 6), of a message without a context. An ML-DSA signature is
// over nothing else, so it is the same as over the message.
func externalMu(pub *mldsa.PublicKey, message []byte) []byte {
	const pure, contextLength = 0, 0
	h := sha3.NewSHAKE256()
	h.Write(sha3.SumSHAKE256(pub.Bytes(), muSize))
	h.Write([]byte{pure, contextLength})
	h.Write(message)
	mu := make([]byte, muSize)
	h.Read(mu)
	return mu
}
