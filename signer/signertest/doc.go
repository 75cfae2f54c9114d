// Package signertest is for people who write a [crypto.Signer]: a run of checks
// that any signer should pass, whatever holds its key, as testing/fstest has
// them for file systems.
//
// [Run] is that run, and takes a line:
//
//	func TestConformance(t *testing.T) {
//		signertest.Run(t, func() crypto.Signer { return openToken(t) })
//	}
//
// It holds a signer to what crypto/tls, crypto/x509, x/crypto/ssh and their like
// rely on: that its public key is there and stays the same; that each signature
// is one of what was asked for, as the standard library's verifiers see it, or
// those of decred's secp256k1 and filippo.io/mldsa; that no two of ECDSA or Ed25519
// have the same nonce, which would give the key away; that everything else is an
// error, and neither a panic nor a signature of something else; that it leaves its
// caller's memory and options alone; and that it mixes up no callers. What a signer
// does otherwise on purpose, a [Deviation] says.
//
// The private keys of the standard library do some of it otherwise. They pass
// with these:
//
//	RSA      MayTrustOptions, MayPanicWithoutRand
//	ECDSA    MayTrustOptions, MayTrustDigests
//	Ed25519  MayTrustOptions
package signertest
