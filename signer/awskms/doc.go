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
// Keys of type RSA, ECDSA on the NIST curves P-256, P-384 and P-521, and Ed25519
// are opened. Opening one asks KMS for its public half, once, and pins its ARN:
// an alias that is moved to another key later does not move the signer, which
// signs with the key that it opened until it is built anew.
//
// The stack around the key owns retries: the SDK's own are off in each call,
// whatever the client's settings, for they would lose the error from KMS when a
// deadline ends their backoff, and multiply with the stack's.
//
// # Errors
//
// Each error is a [signer.Error] that names the key and says what to do, and
// holds the SDK's error with the request id for support. Its class is found by
// type and error code: over quota is Throttled; unknown, disabled or deleted
// keys, wrong usage, denied access and invalid requests are Permanent; all else,
// from internal errors to connections that break, is Transient.
//
// # Permissions
//
// kms:GetPublicKey when a key is opened, and kms:Sign.
package awskms
