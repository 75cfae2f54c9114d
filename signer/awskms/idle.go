package awskms

import (
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

const (
	sdkIdleConns = 10  // a host, that the SDK's HTTP client keeps
	idleConns    = 256 // that a burst of signatures leaves
)

// keepingIdle returns client, but for one that has the SDK's own HTTP client as the
// SDK makes it. That one keeps ten idle connections, and where more signatures are
// under way at a time it dials most of them anew, with a TLS handshake each; so a
// copy of it keeps more. One that was told how many to keep is left alone.
func keepingIdle(client API) API {
	c, ok := client.(*kms.Client)
	if !ok || c == nil {
		return client
	}
	o := c.Options()
	sdks, ok := o.HTTPClient.(*awshttp.BuildableClient)
	if !ok || sdks.GetTransport().MaxIdleConnsPerHost != sdkIdleConns {
		return client
	}
	o.HTTPClient = sdks.WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns = max(t.MaxIdleConns, idleConns)
		t.MaxIdleConnsPerHost = idleConns
	})
	return kms.New(o)
}
