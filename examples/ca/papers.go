package main

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// papers are all that one authority made.
type papers struct {
	name     string
	root     *x509.Certificate
	www, old leaf // of which old is revoked
	crl      *x509.RevocationList
}

type leaf struct {
	request []byte // in DER
	cert    *x509.Certificate
}

// keyCompromise is a reason to revoke, by RFC 5280, section 5.3.1.
const keyCompromise = 1

func makePapers(name string, key crypto.Signer, algorithm x509.SignatureAlgorithm, www, old crypto.Signer) (p papers, err error) {
	p.name = name
	// ZZ is a country of nobody's: an authority's name begins with one.
	subject := pkix.Name{Country: []string{"ZZ"}, Organization: []string{"turret example"}, CommonName: "turret example root " + name}
	if p.root, err = newRoot(key, algorithm, subject); err != nil {
		return papers{}, err
	}
	if p.www, err = newLeaf(p.root, key, www, "www.example.com"); err != nil {
		return papers{}, err
	}
	if p.old, err = newLeaf(p.root, key, old, "old.example.com"); err != nil {
		return papers{}, err
	}
	p.crl, err = newCRL(p.root, key, big.NewInt(1), []x509.RevocationListEntry{
		{SerialNumber: p.old.cert.SerialNumber, RevocationTime: time.Now(), ReasonCode: keyCompromise},
	})
	if err != nil {
		return papers{}, err
	}
	return p, p.check()
}

// newLeaf asks as the server would, and answers as the authority would.
func newLeaf(root *x509.Certificate, rootKey, key crypto.Signer, host string) (leaf, error) {
	request, err := newRequest(key, host)
	if err != nil {
		return leaf{}, fmt.Errorf("the request of %s: %w", host, err)
	}
	cert, err := issue(root, rootKey, request, []string{host})
	return leaf{request, cert}, err
}

// check looks at the papers as those will who get them.
func (p papers) check() error {
	pool := x509.NewCertPool()
	pool.AddCert(p.root)
	for _, l := range []leaf{p.www, p.old} {
		if _, err := l.cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: l.cert.DNSNames[0]}); err != nil {
			return fmt.Errorf("the certificate of %s does not verify: %w", l.cert.DNSNames[0], err)
		}
	}
	if err := p.crl.CheckSignatureFrom(p.root); err != nil {
		return fmt.Errorf("the CRL does not verify: %w", err)
	}
	if isRevoked(p.crl, p.www.cert) || !isRevoked(p.crl, p.old.cert) {
		return errors.New("the CRL has the wrong entries")
	}
	return nil
}

func isRevoked(crl *x509.RevocationList, cert *x509.Certificate) bool {
	for _, e := range crl.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			return true
		}
	}
	return false
}

func (p papers) describe(w io.Writer) {
	fmt.Fprintf(w, "%s, signed with %v\n", p.root.Subject, p.root.SignatureAlgorithm)
	line := func(what string, c *x509.Certificate, note string) {
		fmt.Fprintf(w, "  %-15s  serial %040x, until %s%s\n", what, c.SerialNumber, c.NotAfter.Format(time.DateOnly), note)
	}
	line("root", p.root, "")
	line(p.www.cert.DNSNames[0], p.www.cert, "")
	line(p.old.cert.DNSNames[0], p.old.cert, ", revoked")
	fmt.Fprintf(w, "  CRL              number %v, %d revoked, next before %s\n", p.crl.Number, len(p.crl.RevokedCertificateEntries), p.crl.NextUpdate.Format(time.DateOnly))
	fmt.Fprint(w, "  verified         both requests, both chains to the root, the CRL and its entry\n\n")
}

// files returns the papers in PEM, by file name.
func (p papers) files() map[string][]byte {
	encode := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	return map[string][]byte{
		"root.pem":    encode("CERTIFICATE", p.root.Raw),
		"www.csr.pem": encode("CERTIFICATE REQUEST", p.www.request),
		"www.pem":     encode("CERTIFICATE", p.www.cert.Raw),
		"old.csr.pem": encode("CERTIFICATE REQUEST", p.old.request),
		"old.pem":     encode("CERTIFICATE", p.old.cert.Raw),
		"crl.pem":     encode("X509 CRL", p.crl.Raw),
	}
}

// write writes all papers to a new folder, or nothing.
func write(dir string, all []papers, stdout io.Writer) error {
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".ca-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) // which is gone if all went well
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	for _, p := range all {
		if err := os.Mkdir(filepath.Join(temp, p.name), 0o755); err != nil {
			return err
		}
		for name, data := range p.files() {
			if err := os.WriteFile(filepath.Join(temp, p.name, name), data, 0o644); err != nil {
				return err
			}
		}
	}
	if err := os.Rename(temp, dir); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nIn each folder of %s:\n\n  %s\n\nThe last one fails, for that certificate is revoked.\n", dir, strings.Join(commands, "\n  "))
	return nil
}

// commands are openssl's, in the folder of a root.
var commands = []string{
	"openssl req -verify -noout -in www.csr.pem",
	"openssl crl -CAfile root.pem -noout -in crl.pem",
	"openssl verify -x509_strict -CAfile root.pem www.pem old.pem",
	"openssl verify -x509_strict -crl_check -CAfile root.pem -CRLfile crl.pem www.pem",
	"openssl verify -x509_strict -crl_check -CAfile root.pem -CRLfile crl.pem old.pem",
}
