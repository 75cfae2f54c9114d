package handshake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"time"
)

// Memory returns a key in memory that takes so long for a signature: the limit of
// what any signer can reach whose KMS does.
func Memory(latency time.Duration) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &slowKey{key, latency}, err
}

type slowKey struct {
	*ecdsa.PrivateKey
	latency time.Duration
}

func (k *slowKey) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.latency > 0 {
		time.Sleep(k.latency)
	}
	return k.PrivateKey.Sign(r, digest, opts)
}
