package awskms

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// prepared returns client as it is called here. Of the SDK's it is a copy whose
// HTTP client keeps its connections and has a guard.
func prepared(client API) API {
	c, ok := client.(*kms.Client)
	if !ok || c == nil || c.Options().HTTPClient == nil {
		return client
	}
	o := c.Options()
	hc := guarded(keepingIdle(o.HTTPClient))
	// In an option, for New itself makes of the SDK's HTTP client another one, with
	// connections of its own, where there is a DefaultsMode.
	return kms.New(o, func(o *kms.Options) { o.HTTPClient = hc })
}

// perCall is how the SDK makes one call, whatever the client's settings: without
// retries of its own, which are the stack's, and with a guard.
func perCall(o *kms.Options) {
	o.Retryer = aws.NopRetryer{}
	if _, ok := o.HTTPClient.(guard); !ok && o.HTTPClient != nil { // in an API that is not the SDK's, and calls it
		o.HTTPClient = guarded(o.HTTPClient)
	}
}

// maxAnswer is how much of an answer is read, in bytes, unpacked if it was packed:
// ten times the longest that KMS gives, a signature of ML-DSA-87.
const maxAnswer = 64 << 10

// errTooLong ends an answer. Who answers at the endpoint may not be KMS.
var errTooLong = fmt.Errorf("the answer is longer than %d bytes, which none of KMS's is", maxAnswer)

// errSwitches is for an answer whose body net/http makes of the bare connection,
// so that no context ends the SDK's reading it.
var errSwitches = errors.New("the endpoint switches to another protocol, which nobody asked for")

// guard stands between the SDK, which would read an answer of any length, and
// the network.
type guard struct{ client kms.HTTPClient }

// guarded returns a client that follows no redirects, as KMS has none: who follows
// one asks another host, in the clear perhaps, and may take credentials along.
func guarded(client kms.HTTPClient) guard {
	if c, ok := client.(*http.Client); ok && c != nil {
		obedient := *c
		obedient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		client = &obedient
	}
	return guard{client}
}

func (g guard) Do(req *http.Request) (*http.Response, error) {
	if err := inMemory(req); err != nil {
		return nil, err
	}
	resp, err := g.client.Do(req)
	if resp == nil || resp.Body == nil {
		return resp, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close()
		return nil, errSwitches
	}
	if !isPlausible(resp.Header.Get("Date")) {
		resp.Header.Del("Date")
	}
	resp.Body = &limitedBody{resp.Body, maxAnswer}
	return resp, err
}

// inMemory gives req a body of which net/http knows that it is in memory. The SDK's
// own is none: net/http then sends the header and the body each in a packet, and
// gives the connection up if KMS answers before the writer has seen the body's end,
// as the SDK closes the body under its hands. There is no GetBody, with which the
// SDK's own client would follow redirects.
func inMemory(req *http.Request) error {
	if req.Body == nil || req.ContentLength <= 0 {
		return nil
	}
	body := make([]byte, req.ContentLength)
	_, err := io.ReadFull(req.Body, body)
	if err = errors.Join(err, req.Body.Close()); err != nil {
		return err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// isPlausible reports whether an answer may be of that date. The SDK takes it for
// KMS's time and dates its next request by it, to make up for a clock here that is
// wrong; but with one that is wrong by a year no certificate would verify.
func isPlausible(date string) bool {
	const year = 365 * 24 * time.Hour
	t, err := smithyhttp.ParseTime(date)
	return err != nil || time.Since(t).Abs() <= year
}

// limitedBody is a body that fails, where an [io.LimitedReader] would end: what
// comes after is not to be read when the SDK drains it, either.
type limitedBody struct {
	io.ReadCloser
	left int // bytes
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if len(p) > b.left+1 { // one more tells a longest answer from one that is too long
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if n > b.left {
		n, b.left = b.left, 0
		return n, errTooLong
	}
	b.left -= n
	return n, err
}
