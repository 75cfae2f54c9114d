// Package awskms opens signing keys in AWS KMS.
//
//	client := kms.NewFromConfig(cfg)
//	key, err := signer.NewBuilder(awskms.New(client, "alias/release")).
//		Defaults(signer.Defaults{}).
//		Build(ctx)
//
// or, with a client made for load and the SDK's default configuration:
//
//	provider, err := awskms.Open(ctx, "awskms:///alias/release?region=eu-west-1")
//
// Opening a key asks KMS for its public half, once, and pins its ARN: an alias that
// is moved to another key later does not move the signer, which signs with the key
// that it opened until it is built anew.
//
// The stack around the key owns retries: the SDK's own are off in each call,
// whatever the client's settings, for they would lose the error from KMS when a
// deadline ends their backoff, and multiply with the stack's.
//
// # Keys
//
// All keys that KMS signs with are opened, but for SM2 keys and ED25519_PH_SHA_512:
//
//	KeySpec                      public key            signs
//	RSA_2048, 3072, 4096         *rsa.PublicKey        SHA-256, 384 and 512 digests, PKCS #1 v1.5 and PSS
//	ECC_NIST_P256, P384, P521    *ecdsa.PublicKey      SHA-256, 384 and 512 digests, respectively
//	ECC_SECG_P256K1              *secp256k1.PublicKey  SHA-256 digests
//	ECC_NIST_EDWARDS25519        ed25519.PublicKey     messages of up to 4096 bytes
//	ML_DSA_44, 65, 87            *mldsa.PublicKey      messages
//
// The types that Go's standard library does not have are those of
// github.com/decred/dcrd/dcrec/secp256k1/v4 and filippo.io/mldsa. An ML-DSA
// message too long for KMS is sent as its μ (EXTERNAL_MU), which is computed here;
// nobody can tell by the signature.
//
// KMS does not normalise s in ECDSA signatures: half of them have it in the upper
// half of its range. Verifiers take that on secp256k1 too, but not Bitcoin,
// Ethereum and other chains, which want the lower half: code for those replaces
// such an s by the curve's order less s.
//
// # Errors
//
// Each error is a [signer.Error] that names the key and says what to do, and
// holds the SDK's error with the request id for support. Its class is found by
// type and error code: over quota is Throttled; unknown, disabled or deleted
// keys, wrong usage, denied access and invalid requests are Permanent; all else,
// from internal errors to connections that break, is Transient.
//
// # Who answers
//
// What answers at the endpoint may not be KMS. Of an answer 64 KiB are read, which
// is ten times the longest that KMS gives; no redirect is followed, by an
// *http.Client of yours neither; the key that answers must be the one that was
// asked for, where it was asked for by id or ARN. SECURITY.md tells the rest.
//
// # Permissions
//
// kms:GetPublicKey when a key is opened, and kms:Sign.
package awskms
