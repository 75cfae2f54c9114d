package awskms

import (
	"net/http"
	"runtime"
	"sync"
	"weak"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

const (
	sdkIdleConns = 10  // a host, that the SDK's HTTP client keeps
	idleConns    = 256 // that a burst of signatures leaves
)

// keepingIdle returns client, but for the SDK's own as the SDK makes it. That one
// keeps ten idle connections, and where more signatures are under way at a time it
// dials most of them anew, with a TLS handshake each; so a copy of it keeps more. One
// that was told how many to keep is left alone.
func keepingIdle(client kms.HTTPClient) kms.HTTPClient {
	sdks, ok := client.(*awshttp.BuildableClient)
	if !ok || sdks.GetTransport().MaxIdleConnsPerHost != sdkIdleConns {
		return client
	}
	return roomier(sdks)
}

// copies has the copy of each of the SDK's HTTP clients, for as long as that is
// there: the keys of one client share its connections.
var copies sync.Map // of *awshttp.BuildableClient, by weak.Pointer[awshttp.BuildableClient]

// roomier returns the copy of c.
func roomier(c *awshttp.BuildableClient) *awshttp.BuildableClient {
	key := weak.Make(c)
	if known, ok := copies.Load(key); ok {
		return known.(*awshttp.BuildableClient)
	}
	made, known := copies.LoadOrStore(key, c.WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns = max(t.MaxIdleConns, idleConns)
		t.MaxIdleConnsPerHost = idleConns
	}))
	if !known {
		runtime.AddCleanup(c, func(key weak.Pointer[awshttp.BuildableClient]) { copies.Delete(key) }, key)
	}
	return made.(*awshttp.BuildableClient)
}
