package main

import (
	"crypto"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"golang.org/x/crypto/acme"
)

// authority is an ACME CA in this process, with the part of the Internet that it
// looks at: name servers, and the web servers of those who order certificates.
type authority struct {
	root       *x509.Certificate
	front      *httptest.Server
	names      *nameServer
	challenges *responder
}

func startAuthority() (a *authority, err error) {
	a = &authority{}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.challenges, err = startResponder(); err != nil {
		return a, err
	}
	if a.names, err = startNameServer(); err != nil {
		return a, err
	}
	// Pebble waits up to 5 seconds before it validates, so that clients learn to
	// wait, unless told so by its environment.
	if err := os.Setenv("PEBBLE_VA_NOSLEEP", "1"); err != nil {
		return a, err
	}
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "the only one"}})
	validator := va.New(quiet, a.challenges.port(), 0, false, a.names.addr(), store)
	front := wfe.New(quiet, store, validator, issuer, []string{"ca.example.com"}, false, false, 1, 1)
	a.root, err = x509.ParseCertificate(issuer.GetRootCert(0).DER)
	a.front = httptest.NewTLSServer(front.Handler())
	return a, err
}

// client returns a client of the CA, of the account whose key this is.
func (a *authority) client(key crypto.Signer) *acme.Client {
	return &acme.Client{
		Key:          key,
		DirectoryURL: a.front.URL + wfe.DirectoryPath,
		HTTPClient:   a.front.Client(),
		// It sets the pause after a refused nonce, too. The default of some seconds
		// spares CAs that are not one's own.
		RetryBackoff: func(int, *http.Request, *http.Response) time.Duration { return 10 * time.Millisecond },
	}
}

// close ends all but one goroutine of Pebble's, which it has no way to end.
func (a *authority) close() error {
	var errs []error
	if a.front != nil {
		a.front.Close()
	}
	if a.names != nil {
		errs = append(errs, a.names.close())
	}
	if a.challenges != nil {
		errs = append(errs, a.challenges.close())
	}
	return errors.Join(errs...)
}
