// Package kmstest is an AWS KMS for tests, as net/http/httptest is a web
// server for tests: it runs in the test's own process, speaks the real wire
// protocol, so that the real AWS SDK talks to it, holds real keys and makes real
// signatures. Beyond that it does on demand what the real one does at the worst
// of times: it is slow, throttles, errs, hangs, resets connections, lies and
// goes down.
//
//	srv := kmstest.NewServer()
//	defer srv.Close()
//	keyID := srv.CreateKey(types.KeySpecEccNistP256)
//	srv.Inject(kmstest.Faults{
//		Throttle: 0.10,
//		Hang:     0.01,
//		Latency:  kmstest.LogNormal(15*time.Millisecond, 400*time.Millisecond),
//	})
//	client := srv.Client() // a *kms.Client
//
// # Two ways in
//
// [Server.Client] is a client of the real SDK over connections in memory. Nothing
// of it touches the network, so a testing/synctest bubble can hold the SDK, the
// server and all between them, and an outage of an hour passes in a moment. Make
// the Server inside the bubble, and Close it there.
//
// [Server.Endpoint] is a loopback URL, for other processes, other SDKs and other
// languages; [Server.AddListener] takes a listener of one's own, of TLS, say. Any
// credentials do: a request has to carry an Authorization header, but nobody checks
// its signature.
//
// # What is real
//
// The operations are CreateKey, DescribeKey, GetPublicKey, Sign, Verify,
// CreateAlias, UpdateAlias, DeleteAlias, EnableKey, DisableKey,
// ScheduleKeyDeletion, CancelKeyDeletion and ReplicateKey. The specs of keys are
// RSA_2048, RSA_3072, RSA_4096, ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521,
// ECC_SECG_P256K1, ECC_NIST_EDWARDS25519, ML_DSA_44, ML_DSA_65, ML_DSA_87 and
// SYMMETRIC_DEFAULT, the last with nothing to do: Encrypt and Decrypt are not here.
// What AWS refuses is refused with the error code that AWS gives and, as far as it
// is known, the same message, after validation, name look-up, permission, key state
// and key usage were checked in that order.
//
// Where AWS's documentation is all there is to go by, this package follows it:
//
//   - An empty Message is refused, as the API's model says, although the prose
//     beside it says that messages can be 0–4096 bytes.
//   - ED25519_PH_SHA_512 hashes what it is given with SHA-512 once more, even
//     though that is a digest already. Such a signature verifies as Ed25519ph over
//     the digest, not over the message.
//   - A message and its μ (EXTERNAL_MU) have the same ML-DSA signature: it is the
//     deterministic variant of FIPS 204.
//
// These differ from AWS: there are no policies or grants but [Server.Deny], no
// delay before a change is seen everywhere, and a multi-Region primary key whose
// deletion is scheduled goes to PendingDeletion, with no regard for its replicas.
package kmstest
