package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/turretgo/turret"
)

// client is a key in a vendor's KMS, as vendors' libraries have it: a
// crypto.Signer, whose errors know nothing of turret.
type client struct {
	http *http.Client
	url  string // the key's
	pub  crypto.PublicKey
}

// apiError is the vendor's own error.
type apiError struct {
	Status     int
	Message    string
	RetryAfter string // the header
}

func (e *apiError) Error() string { return fmt.Sprintf("vendor: %d %s", e.Status, e.Message) }

// openKey fetches the key's public half.
func openKey(ctx context.Context, endpoint, key string) (*client, error) {
	c := &client{http: &http.Client{Transport: &http.Transport{}}, url: endpoint + "/keys/" + key}
	der, err := c.do(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return nil, err
	}
	c.pub, err = x509.ParsePKIXPublicKey(der)
	return c, err
}

func (c *client) Public() crypto.PublicKey { return c.pub }

func (c *client) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return c.SignContext(context.Background(), rand, digest, opts)
}

// SignContext is what signer.Wrap calls: a request that its caller has given up
// ends at once.
func (c *client) SignContext(ctx context.Context, _ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	body, err := json.Marshal(signRequest{digest, opts.HashFunc().String()})
	if err != nil {
		return nil, err
	}
	return c.do(ctx, http.MethodPost, c.url+":sign", body)
}

// Close closes idle connections. The stack's Close calls it.
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func (c *client) do(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &apiError{resp.StatusCode, string(bytes.TrimSpace(data)), resp.Header.Get("Retry-After")}
	}
	return data, nil
}

// classify says what the vendor's errors mean to the layers above. It leaves
// errors of the connection as they are: Unknown, and retried; and those of the
// context, for which turret knows better whose it was.
func classify(err error) error {
	e, ok := errors.AsType[*apiError](err)
	switch {
	case !ok:
		return err
	case e.Status == http.StatusTooManyRequests:
		err = turret.WithClass(err, turret.Throttled)
		if seconds, parseErr := strconv.Atoi(e.RetryAfter); parseErr == nil {
			err = turret.WithRetryAfter(err, time.Duration(seconds)*time.Second)
		}
		return err
	case e.Status >= 500:
		return turret.WithClass(err, turret.Transient)
	}
	return turret.WithClass(err, turret.Permanent)
}
