package signer

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"filippo.io/mldsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// Certificate makes a certificate for crypto/tls of a chain in PEM, leaf first,
// and the leaf's private key, as tls.X509KeyPair does of two files. It checks
// that leaf and key match.
//
// It sets SupportedSignatureAlgorithms to what the key does. A TLS 1.2 client
// asks an ECDSA key for SHA-256 first, whatever its curve, and a P-384 key in a
// KMS cannot do that.
//
// Keys of types that crypto/tls does not know, secp256k1 and ML-DSA, are refused.
func Certificate(chainPEM []byte, key crypto.Signer) (tls.Certificate, error) {
	if isNil(key) {
		return tls.Certificate{}, &Error{Reason: "Certificate needs a key; it was given nil"}
	}
	if err := checkPublic(key.Public()); err != nil {
		return tls.Certificate{}, err
	}
	if !inTLS(key.Public()) {
		return tls.Certificate{}, &Error{
			KeyType: keyType(key.Public()),
			Reason:  fmt.Sprintf("%s keys cannot be used with crypto/tls, which knows RSA, ECDSA on P-256, P-384 and P-521, and Ed25519", keyType(key.Public())),
		}
	}
	cert := tls.Certificate{PrivateKey: key, SupportedSignatureAlgorithms: signatureSchemes(key)}
	for block, rest := pem.Decode(chainPEM); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			cert.Certificate = append(cert.Certificate, block.Bytes)
		}
	}
	if len(cert.Certificate) == 0 {
		return tls.Certificate{}, &Error{Reason: "there is no certificate in the PEM data; a chain begins with a block of type CERTIFICATE, the leaf's"}
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return tls.Certificate{}, &Error{Reason: "the first certificate in the PEM data, the leaf, does not parse", Err: err}
	}
	if !samePublic(leaf.PublicKey, key.Public()) {
		return tls.Certificate{}, &Error{
			KeyType: keyType(key.Public()),
			Reason:  fmt.Sprintf("the leaf certificate (%s, %s) is another key's than the one given (%s); a chain begins with the leaf", leaf.Subject, keyType(leaf.PublicKey), keyType(key.Public())),
		}
	}
	cert.Leaf = leaf
	return cert, nil
}

// inTLS reports whether crypto/tls and crypto/x509 know keys of pub's type.
func inTLS(pub crypto.PublicKey) bool {
	switch pub.(type) {
	case *secp256k1.PublicKey, *mldsa.PublicKey:
		return false
	}
	return true
}

// tlsSchemes are the signature schemes of TLS that an algorithm can make.
var tlsSchemes = map[Algorithm]tls.SignatureScheme{
	RSASSA_PSS_SHA_256:        tls.PSSWithSHA256,
	RSASSA_PSS_SHA_384:        tls.PSSWithSHA384,
	RSASSA_PSS_SHA_512:        tls.PSSWithSHA512,
	RSASSA_PKCS1_V1_5_SHA_256: tls.PKCS1WithSHA256,
	RSASSA_PKCS1_V1_5_SHA_384: tls.PKCS1WithSHA384,
	RSASSA_PKCS1_V1_5_SHA_512: tls.PKCS1WithSHA512,
	ECDSA_SHA_256:             tls.ECDSAWithP256AndSHA256,
	ECDSA_SHA_384:             tls.ECDSAWithP384AndSHA384,
	ECDSA_SHA_512:             tls.ECDSAWithP521AndSHA512,
	ED25519_SHA_512:           tls.Ed25519,
}

func signatureSchemes(key crypto.Signer) []tls.SignatureScheme {
	algorithms := paired(key.Public())
	if s, ok := key.(*Signer); ok {
		algorithms = s.algorithms
	}
	var schemes []tls.SignatureScheme
	for _, a := range algorithms {
		schemes = append(schemes, tlsSchemes[a])
	}
	return schemes
}

// GetCertificate makes a tls.Config's GetCertificate of one of yours, which may
// renew certificates or choose among several: the [Signer] of the certificate
// that get returns is bound to the context of the handshake. A handshake that
// ends, by its HandshakeContext, then ends its signature too.
//
// For one certificate:
//
//	config.GetCertificate = signer.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
//		return &cert, nil
//	})
//
// Keys that are no *Signer stay as they are. net/http puts no deadline on that
// context, and does not cancel it when a client goes away; there, the stack's
// own timeout bounds a signature.
func GetCertificate(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if get == nil {
		panic(&Error{Reason: "GetCertificate needs a function that gets certificates; it was given nil"})
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		return bind(hello.Context(), cert), err
	}
}

// GetClientCertificate does for a client's certificate what [GetCertificate]
// does for a server's.
func GetClientCertificate(get func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if get == nil {
		panic(&Error{Reason: "GetClientCertificate needs a function that gets certificates; it was given nil"})
	}
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := get(info)
		return bind(info.Context(), cert), err
	}
}

// bind returns a copy of cert whose signer is bound to ctx.
func bind(ctx context.Context, cert *tls.Certificate) *tls.Certificate {
	if cert == nil {
		return nil
	}
	s, ok := cert.PrivateKey.(*Signer)
	if !ok || s == nil {
		return cert
	}
	bound := *cert
	bound.PrivateKey = s.WithContext(ctx)
	return &bound
}
