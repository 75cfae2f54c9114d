// Package interop is a test only, and nothing to copy: it opens a key of every
// spec that turret knows, signs with every algorithm that the key has, and shows
// each signature to an implementation that is not turret's: OpenSSL, Go's standard
// library, and circl for ML-DSA.
//
//	go test -v ./examples/interop
//
// The verifiers get the public key as KMS gave it, in DER, and nothing else.
package interop
