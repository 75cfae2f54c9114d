package awskms

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
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
//	awskms:///mrk-1234abcd12ab34cd56ef1234567890ab?region=eu-west-1&region=eu-central-1
//
// After the three slashes stands what [New] takes. The Region is that of the
// query, else that of an ARN, else the configuration's. Several Regions, in order
// of preference, are for a key that is in all of them; see [MultiRegion]. The
// query's endpoint is the https URL of another server to ask, such as one on a
// private network: one for each Region, in the same order. A server on the loopback
// interface may be asked by http.
//
// The client is made for load: it keeps as many connections as there are
// signatures under way, 256 at most while idle, where the SDK keeps 10 and dials
// anew for each burst; and it gives up connecting after 2 s and a TLS handshake
// after 3 s.
//
// A URI that names no key is a [signer.Error]. Open asks nothing of KMS.
func Open(ctx context.Context, uri string) (signer.KeyProvider, error) {
	at, err := parse(uri)
	if err != nil {
		return nil, &signer.Error{Reason: plain(fmt.Sprintf("%s is no key URI: %v; one reads awskms:///alias/release?region=eu-west-1", quoted(uri), err))}
	}
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(at.home()),
		config.WithHTTPClient(httpClient()),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		return nil, &signer.Error{KeyID: at.keyID, Reason: "the SDK's configuration does not load", Err: err}
	}
	if len(at.regions) > 1 {
		var clients []API
		for i := range at.regions {
			clients = append(clients, at.client(cfg, i))
		}
		return MultiRegion(at.keyID, clients...), nil
	}
	return New(at.client(cfg, 0), at.keyID), nil
}

// quoted is a URI as it may be shown: without a password that slipped into it.
func quoted(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return "it"
	}
	shown := u.Redacted()
	u.User = nil
	if rest := strings.ToLower(u.String()); strings.Contains(rest, "@") || strings.Contains(rest, "%40") {
		return "it"
	}
	return strconv.Quote(shown)
}

// location is what a URI says of a key.
type location struct {
	keyID     string
	regions   []string // none: the configuration's
	endpoints []string // none, or one for each Region
}

// home returns the first Region, or "" for the configuration's.
func (l location) home() string {
	if len(l.regions) == 0 {
		return ""
	}
	return l.regions[0]
}

// client returns a client for the i-th Region.
func (l location) client(cfg aws.Config, i int) *kms.Client {
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		if i > 0 {
			o.Region = l.regions[i]
		}
		if len(l.endpoints) > 0 {
			o.BaseEndpoint = &l.endpoints[i]
		}
	})
}

// parse takes a key's URI apart.
func parse(uri string) (location, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return location{}, fmt.Errorf("it is no URI at all")
	}
	query, err := url.ParseQuery(u.RawQuery)
	switch {
	case u.Scheme != "awskms":
		return location{}, fmt.Errorf("its scheme is %q", u.Scheme)
	case u.User != nil:
		return location{}, fmt.Errorf("it has a user in it; credentials come from the SDK's configuration")
	case u.Host != "":
		return location{}, fmt.Errorf("%q stands where a host does; there are three slashes before the key", u.Host)
	case u.Opaque != "" || strings.TrimPrefix(u.Path, "/") == "":
		return location{}, fmt.Errorf("there is no key after three slashes")
	case u.Fragment != "":
		return location{}, fmt.Errorf("it has a fragment, #%s", u.Fragment)
	case err != nil:
		return location{}, fmt.Errorf("its query does not parse")
	}
	for name := range query {
		if name != "region" && name != "endpoint" {
			return location{}, fmt.Errorf("its query has %s, where region and endpoint may be", name)
		}
	}
	l := location{strings.TrimPrefix(u.Path, "/"), query["region"], query["endpoint"]}
	for _, check := range []func() error{l.checkKey, l.checkRegions, l.checkEndpoints} {
		if err := check(); err != nil {
			return location{}, err
		}
	}
	return l, nil
}

var (
	idOrAlias = regexp.MustCompile(`^([a-zA-Z0-9-]+|alias/[a-zA-Z0-9:/_-]+)$`)
	resource  = regexp.MustCompile(`^(key/[a-zA-Z0-9-]+|alias/[a-zA-Z0-9:/_-]+)$`)
)

// checkKey refuses what KMS would, in fewer words: a slash too many, for instance.
func (l *location) checkKey() error {
	a, err := arn.Parse(l.keyID)
	switch {
	case err == nil && a.Service == "kms" && regionName.MatchString(a.Region) && resource.MatchString(a.Resource):
	case err != nil && idOrAlias.MatchString(l.keyID):
	default:
		return fmt.Errorf("%q is no key's id or ARN, and no alias's name or ARN", l.keyID)
	}
	return nil
}

var regionName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)

// checkRegions gives a location without a Region that of its ARN.
func (l *location) checkRegions() error {
	for i, region := range l.regions {
		switch {
		case !regionName.MatchString(region):
			return fmt.Errorf("%q is no Region's name; several Regions are given as region=eu-west-1&region=eu-central-1", region)
		case slices.Contains(l.regions[:i], region):
			return fmt.Errorf("it has the Region %s twice", region)
		}
	}
	if len(l.regions) > 1 && !isMultiRegion(l.keyID) {
		return fmt.Errorf("it has %d Regions, and its key is in one only; the ids of multi-Region keys begin with mrk-", len(l.regions))
	}
	a, err := arn.Parse(l.keyID)
	switch {
	case err != nil:
	case len(l.regions) == 0:
		l.regions = []string{a.Region}
	case !slices.Contains(l.regions, a.Region):
		return fmt.Errorf("its region is %s, and its ARN's is %s", strings.Join(l.regions, " and "), a.Region)
	}
	return nil
}

func (l *location) checkEndpoints() error {
	if n := max(len(l.regions), 1); len(l.endpoints) > 0 && len(l.endpoints) != n {
		return fmt.Errorf("it has %d endpoints; it must have none, or %d: one for each Region, in the same order", len(l.endpoints), n)
	}
	for _, endpoint := range l.endpoints {
		e, err := url.Parse(endpoint)
		if err != nil || e.Host == "" || e.User != nil || e.Scheme != "https" && e.Scheme != "http" {
			return fmt.Errorf("its endpoint is no http or https URL, or has a user")
		}
		if e.Scheme == "http" && !isLoopback(e.Hostname()) {
			return fmt.Errorf("its endpoint is to be asked by http, where anybody on the way can read what is signed, and answer; give an https URL, or make a client for it and call awskms.New")
		}
	}
	return nil
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// httpClient is the SDK's, fit for a burst of signatures.
func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns = idleConns
			t.MaxIdleConnsPerHost = idleConns
			t.MaxResponseHeaderBytes = 64 << 10
			t.TLSHandshakeTimeout = 3 * time.Second
		}).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = 2 * time.Second })
}
