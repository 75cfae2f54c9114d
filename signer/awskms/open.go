package awskms

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/turretgo/turret/signer"
)

// Open returns a provider of the key that a URI names, with a client of the
// SDK's default configuration (environment, shared files, roles):
//
//	awskms:///alias/release?region=eu-west-1
//	awskms:///1234abcd-12ab-34cd-56ef-1234567890ab
//	awskms:///arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
//
// After the three slashes stands what [New] takes. The Region is that of the
// query, else that of an ARN, else the configuration's. The query's endpoint is
// the URL of another server to ask, such as one on a private network.
//
// The client is made for load: it keeps as many connections as there are
// signatures under way, 256 at most while idle, where the SDK keeps 10 and dials
// anew for each burst; and it gives up connecting after 2 s and a TLS handshake
// after 3 s.
//
// A URI that names no key is a [signer.Error]. Open asks nothing of KMS.
func Open(ctx context.Context, uri string) (signer.KeyProvider, error) {
	keyID, region, endpoint, err := parse(uri)
	if err != nil {
		return nil, &signer.Error{Reason: fmt.Sprintf("%s is no key URI: %v; one reads awskms:///alias/release?region=eu-west-1", quoted(uri), err)}
	}
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(region),
		config.WithHTTPClient(httpClient()),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		return nil, &signer.Error{KeyID: keyID, Reason: "the SDK's configuration does not load", Err: err}
	}
	return New(kms.NewFromConfig(cfg, func(o *kms.Options) {
		if endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
	}), keyID), nil
}

// quoted is a URI as it may be shown: without a password that slipped into it.
func quoted(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || strings.Contains(u.RawQuery, "@") {
		return "it"
	}
	return strconv.Quote(u.Redacted())
}

// parse takes a key's URI apart.
func parse(uri string) (keyID, region, endpoint string, err error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", "", "", fmt.Errorf("it is no URI at all")
	}
	query, err := url.ParseQuery(u.RawQuery)
	switch {
	case u.Scheme != "awskms":
		return "", "", "", fmt.Errorf("its scheme is %q", u.Scheme)
	case u.Host != "" || u.User != nil:
		return "", "", "", fmt.Errorf("%q stands where a host does; there are three slashes before the key", u.Host)
	case u.Opaque != "" || strings.TrimPrefix(u.Path, "/") == "":
		return "", "", "", fmt.Errorf("there is no key after three slashes")
	case u.Fragment != "":
		return "", "", "", fmt.Errorf("it has a fragment, #%s", u.Fragment)
	case err != nil:
		return "", "", "", fmt.Errorf("its query does not parse")
	}
	keyID = strings.TrimPrefix(u.Path, "/")
	a, err := arn.Parse(keyID)
	if err == nil {
		region = a.Region
	}
	for name, values := range query {
		switch {
		case len(values) != 1 || values[0] == "":
			return "", "", "", fmt.Errorf("%s is not given once in its query", name)
		case name == "region" && region != "" && region != values[0]:
			return "", "", "", fmt.Errorf("its region is %s, and its ARN's is %s", values[0], region)
		case name == "region":
			region = values[0]
		case name == "endpoint":
			endpoint = values[0]
		default:
			return "", "", "", fmt.Errorf("its query has %s, where region and endpoint may be", name)
		}
	}
	if e, err := url.Parse(endpoint); endpoint != "" && (err != nil || e.Host == "" || e.User != nil || e.Scheme != "https" && e.Scheme != "http") {
		return "", "", "", fmt.Errorf("its endpoint is no http or https URL, or has a user")
	}
	return keyID, region, endpoint, nil
}

// httpClient is the SDK's, fit for a burst of signatures.
func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns = 256
			t.MaxIdleConnsPerHost = 256
			t.TLSHandshakeTimeout = 3 * time.Second
		}).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = 2 * time.Second })
}
