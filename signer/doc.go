// Package signer makes a private key that is held elsewhere, in a KMS, an HSM
// or an agent, a well-behaved [crypto.Signer].
//
// A crypto.Signer takes no context. A throttled or hung key service therefore
// takes down whoever holds one: a TLS server, a CA, a release pipeline. This
// package puts a stack of layers between the two, bounded in time:
//
//	key, err := signer.NewBuilder(provider).
//		Defaults(signer.Defaults{}).
//		Build(ctx)
//
// or layer by layer, the first named outermost:
//
//	key, err := signer.NewBuilder(provider).
//		Timeout(10 * time.Second).
//		Retry(retry.Options{MaxAttempts: 5}).
//		RateLimit(ratelimit.Options{Rate: 500}).
//		CircuitBreaker(gobreaker.Settings{Name: "kms"}).
//		Timeout(2 * time.Second).
//		Build(ctx)
//
// The [Signer] that comes out is a crypto.Signer and a [crypto.MessageSigner]
// for crypto/tls, crypto/x509, x/crypto/ssh, go-jose and everyone else who signs
// with Go's standard interface. Its public key is local. What the key cannot do
// is refused before the network, and every signature is verified under the
// public key before anybody sees it.
//
// # Where keys come from
//
// A [KeyProvider] finds a [Key]: package awskms opens those in AWS KMS, and
// [Wrap] takes any other crypto.Signer. [Chain] tries several providers in turn,
// and [Reconnect] opens a key again that broke.
//
// # Keys
//
// The type of a key's public half, and the options that a caller passes to Sign,
// tell what is signed and how:
//
//	RSA                  *rsa.PublicKey                  a crypto.Hash, or *rsa.PSSOptions
//	ECDSA, NIST curves   *ecdsa.PublicKey                a crypto.Hash
//	ECDSA, secp256k1     *secp256k1.PublicKey (decred's) crypto.SHA256
//	Ed25519              ed25519.PublicKey               crypto.Hash(0), with the message itself
//	ML-DSA               *mldsa.PublicKey (filippo.io's) crypto.Hash(0), with the message itself
//
// crypto/tls and crypto/x509 know neither secp256k1 nor ML-DSA.
//
// # Contexts
//
// [Signer.SignContext] takes one, [Signer.WithContext] binds a copy of the
// signer to one, and [GetCertificate] does so for each TLS handshake. A Sign
// without any is bounded all the same, by the stack's outermost timeout.
package signer
