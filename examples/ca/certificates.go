package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// How long things last, their first and last second included. Browsers' rules
// allow a root 25 years, a server's certificate 47 days from 2029 on, and a CRL
// 10 days until the next.
const (
	rootValidity = 10 * 365 * 24 * time.Hour
	leafValidity = 47 * 24 * time.Hour
	crlValidity  = 7 * 24 * time.Hour
	skew         = time.Hour // by which clocks of others may be late
)

// newRoot makes the certificate of an authority, signed with its own key. It is
// for leaves only: authorities below it are ruled out by its path length.
//
// An algorithm of 0 is the key's own: ECDSA with the hash of its curve, Ed25519,
// or PKCS #1 v1.5 with SHA-256. RSA-PSS must be asked for, and all that the
// authority signs later is signed likewise.
//
// The key's Sign gets no context from x509: bind it to one beforehand, with
// signer.Signer.WithContext.
func newRoot(key crypto.Signer, algorithm x509.SignatureAlgorithm, subject pkix.Name) (*x509.Certificate, error) {
	id, err := keyID(key.Public())
	if err != nil {
		return nil, err
	}
	notBefore := time.Now().Add(-skew)
	template := &x509.Certificate{ // without a serial number: x509 makes one of 159 random bits
		SignatureAlgorithm:    algorithm,
		Subject:               subject,
		NotBefore:             notBefore,
		NotAfter:              notBefore.Add(rootValidity - time.Second),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		SubjectKeyId:          id,
		AuthorityKeyId:        id,
	}
	return create(template, template, key.Public(), key)
}

// issue makes a server's certificate of a request in DER, for names that the
// authority found to be the requester's. A request says for which key and names
// a certificate is wanted, and proves that who asks has the key; no more of it is
// believed. Root is self-signed: its algorithm is the one that its key is for.
func issue(root *x509.Certificate, key crypto.Signer, request []byte, names []string) (*x509.Certificate, error) {
	csr, err := checkRequest(request, names)
	if err != nil {
		return nil, fmt.Errorf("the request is refused: %w", err)
	}
	id, err := keyID(csr.PublicKey)
	if err != nil {
		return nil, err
	}
	notBefore := time.Now().Add(-skew)
	notAfter := notBefore.Add(leafValidity - time.Second)
	if notAfter.After(root.NotAfter) {
		return nil, fmt.Errorf("the certificate of %s would outlive its root, which ends on %s; make a new root", csr.DNSNames[0], root.NotAfter.Format(time.DateOnly))
	}
	template := &x509.Certificate{
		SignatureAlgorithm:    root.SignatureAlgorithm,
		Subject:               pkix.Name{CommonName: csr.DNSNames[0]},
		DNSNames:              csr.DNSNames,
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		SubjectKeyId:          id,
	}
	cert, err := create(template, root, csr.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("the certificate of %s: %w", csr.DNSNames[0], err)
	}
	return cert, nil
}

// newRequest asks for a certificate for key and names, the proof in DER that
// whoever asks has the key.
func newRequest(key crypto.Signer, names ...string) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: names[0]},
		DNSNames: names,
	}, key)
}

func checkRequest(der []byte, names []string) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("it does not parse: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("it does not prove that who asks has the key: %w", err)
	}
	if k, ok := csr.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		return nil, fmt.Errorf("its RSA key has %d bits; 2048 are the least", k.N.BitLen())
	}
	if len(csr.DNSNames) == 0 {
		return nil, errors.New("it names no host; the names belong to its subject alternative names")
	}
	for _, name := range csr.DNSNames {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("it asks for %q, which was not found to be the requester's", name)
		}
	}
	return csr, nil
}

// newCRL makes the list of what root has revoked. Its number must be greater
// than that of the list before. An Ed25519 key in AWS KMS, which signs no more
// than 4096 bytes, is at its end with about seventy entries.
func newCRL(root *x509.Certificate, key crypto.Signer, number *big.Int, revoked []x509.RevocationListEntry) (*x509.RevocationList, error) {
	now := time.Now()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		SignatureAlgorithm:        root.SignatureAlgorithm,
		Number:                    number,
		ThisUpdate:                now,
		NextUpdate:                now.Add(crlValidity),
		RevokedCertificateEntries: revoked,
	}, root, key)
	if err != nil {
		return nil, fmt.Errorf("the CRL: %w", err)
	}
	return x509.ParseRevocationList(der)
}

func create(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// keyID is the identifier of a public key by RFC 7093, section 2, method 1,
// which x509 gives to authorities only.
func keyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(info.Key.Bytes)
	return sum[:20], nil
}
