package awskms_test

import (
	"bytes"
	"crypto"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// canned answers every request alike.
type canned struct {
	status int
	body   []byte
}

func (c canned) Do(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: c.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(c.body))}, nil
}

// environment is one in which the SDK finds credentials and nothing else.
func environment(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
}

func TestOpenSigns(t *testing.T) {
	environment(t)
	srv := server(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	srv.SetAlias("alias/release", id)
	for _, uri := range []string{
		"awskms:///alias/release?region=us-east-1&endpoint=" + srv.Endpoint(),
		"awskms:///" + id + "?endpoint=" + srv.Endpoint() + "&region=us-east-1",
		"awskms:///" + srv.ARN(id) + "?endpoint=" + srv.Endpoint(),
	} {
		provider, err := awskms.Open(t.Context(), uri)
		require.NoError(t, err)
		s, err := signer.NewBuilder(provider).Build(t.Context())
		require.NoError(t, err, uri)
		_, err = s.SignMessage(nil, []byte("m"), crypto.SHA256)
		require.NoError(t, err, uri)
	}
}

func TestConnectionsAreKeptBetweenBursts(t *testing.T) {
	environment(t)
	srv := server(t)
	keyID := srv.CreateKey(types.KeySpecEccNistP256)
	config := aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(srv.Endpoint()), Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", "")}
	told := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 2 })
	opened, err := awskms.Open(t.Context(), "awskms:///"+keyID+"?region=us-east-1&endpoint="+srv.Endpoint())
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		provider signer.KeyProvider
		kept     bool
	}{
		"Open":                       {opened, true},
		"New, with the SDK's client": {awskms.New(kms.NewFromConfig(config), keyID), true},
		"MultiRegion":                {awskms.MultiRegion(keyID, kms.NewFromConfig(config)), true},
		"New, told to keep fewer":    {awskms.New(kms.NewFromConfig(config, func(o *kms.Options) { o.HTTPClient = told }), keyID), false},
		"New, with a client of Go's": {awskms.New(kms.NewFromConfig(config, func(o *kms.Options) { o.HTTPClient = &http.Client{Transport: &http.Transport{}} }), keyID), false},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := signer.NewBuilder(tc.provider).SkipVerify().Build(t.Context())
			require.NoError(t, err)
			const bursts, size = 6, 64
			srv.Inject(kmstest.Faults{Latency: kmstest.LogNormal(20*time.Millisecond, 30*time.Millisecond)}) // so that a burst is under way at once
			defer srv.Inject(kmstest.Faults{})
			before := srv.Stats().Connections
			for range bursts {
				var burst sync.WaitGroup
				for range size {
					burst.Go(func() {
						if _, err := s.SignMessage(nil, nil, crypto.SHA256); err != nil {
							t.Error(err)
						}
					})
				}
				burst.Wait()
			}
			// With ten idle connections each burst dials some fifty anew.
			dialled := srv.Stats().Connections - before
			require.Equal(t, tc.kept, dialled < 2*size, "%d connections", dialled)
		})
	}
}

func TestKeysOfOneClientShareItsConnections(t *testing.T) {
	srv := server(t)
	for _, mode := range []aws.DefaultsMode{aws.DefaultsModeLegacy, aws.DefaultsModeStandard, aws.DefaultsModeInRegion} {
		client := kms.New(kms.Options{
			Region:       "us-east-1",
			Credentials:  credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
			BaseEndpoint: aws.String(srv.Endpoint()),
			DefaultsMode: mode,
		})
		before := srv.Stats().Connections
		for range 5 {
			provider := awskms.New(client, srv.CreateKey(types.KeySpecEccNistP256))
			key, err := provider.ProvideKey(t.Context())
			require.NoError(t, err)
			for range 20 {
				_, err = key.Call(t.Context(), signDigest)
				require.NoError(t, err)
			}
		}
		require.EqualValues(t, 1, srv.Stats().Connections-before, "%q", mode)
	}
}

func TestAnHTTPClientIsTakenAsItIsWhenTheKeyIsNamed(t *testing.T) {
	srv := server(t)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	hc := &http.Client{Transport: transport}
	provider := awskms.New(kms.New(at(srv.Endpoint()).Options(), func(o *kms.Options) { o.HTTPClient = hc }), srv.CreateKey(types.KeySpecEccNistP256))
	hc.Timeout, hc.Transport = 1, nil
	key, err := provider.ProvideKey(t.Context())
	require.NoError(t, err)
	_, err = key.Call(t.Context(), signDigest)
	require.NoError(t, err)
	require.Nil(t, hc.CheckRedirect, "it is copied")
}

func TestOpenWithoutARegionSaysSo(t *testing.T) {
	environment(t)
	provider, err := awskms.Open(t.Context(), "awskms:///alias/release")
	require.NoError(t, err)
	_, err = provider.ProvideKey(t.Context())
	require.ErrorContains(t, err, "the KMS client has no Region; set one in its configuration, in AWS_REGION, or as ?region= of a URI")

	t.Setenv("AWS_REGION", "us-east-1")
	srv := server(t)
	provider, err = awskms.Open(t.Context(), "awskms:///"+srv.CreateKey(types.KeySpecEccNistP256)+"?endpoint="+srv.Endpoint())
	require.NoError(t, err)
	_, err = provider.ProvideKey(t.Context())
	require.NoError(t, err)
}

func TestOpenRefusesWhatNamesNoKey(t *testing.T) {
	for uri, want := range map[string]string{
		"":                                          `its scheme is ""`,
		"kms:///alias/release":                      `its scheme is "kms"`,
		"awskms://alias/release":                    `"alias" stands where a host does; there are three slashes before the key`,
		"awskms://user@/alias/release":              "it has a user in it; credentials come from the SDK's configuration",
		"awskms:alias/release":                      "there is no key after three slashes",
		"awskms:///":                                "there is no key after three slashes",
		"awskms:///?region=eu-west-1":               "there is no key after three slashes",
		"awskms:////alias/x":                        `"/alias/x" is no key's id or ARN, and no alias's name or ARN`,
		"awskms:///alias/":                          `"alias/" is no key's id`,
		"awskms:///alias/a%20b":                     `"alias/a b" is no key's id`,
		"awskms:///ALIAS/x":                         `"ALIAS/x" is no key's id`,
		"awskms:///mrk-1/":                          `"mrk-1/" is no key's id`,
		"awskms:///arn:aws:s3:::bucket":             `"arn:aws:s3:::bucket" is no key's id`,
		"awskms:///arn:aws:kms::111122223333:key/k": `"arn:aws:kms::111122223333:key/k" is no key's id`,
		"awskms:///arn:aws:kms:eu-west-1:111122223333:key":                  `no key's id`,
		"awskms:///arn:aws:kms:eu-west-1?region=eu-west-1&region=us-east-1": `"arn:aws:kms:eu-west-1" is no key's id`,
		"awskms:///alias/x#y":                                                                         "it has a fragment, #y",
		"awskms:///alias/x?region=":                                                                   `"" is no Region's name`,
		"awskms:///alias/x?region=eu-west-1,eu-central-1":                                             "several Regions are given as region=eu-west-1&region=eu-central-1",
		"awskms:///alias/x?region=eu-west-1&region=eu-west-1":                                         "it has the Region eu-west-1 twice",
		"awskms:///1234abcd-12ab-34cd-56ef-1234567890ab?region=eu-west-1&region=us-east-1":            "it has 2 Regions, and its key is in one only; the ids of multi-Region keys begin with mrk-",
		"awskms:///mrk-1?region=eu-west-1&region=us-east-1&endpoint=http://127.0.0.1":                 "it has 1 endpoints; it must have none, or 2: one for each Region, in the same order",
		"awskms:///mrk-1?endpoint=http://127.0.0.1&endpoint=http://127.0.0.1":                         "it has 2 endpoints; it must have none, or 1",
		"awskms:///mrk-1?region=eu-west-1&region=us-east-1&endpoint=https://a&endpoint=b":             "its endpoint is no http or https URL",
		"awskms:///arn:aws:kms:us-east-1:111122223333:key/mrk-1?region=eu-west-1&region=eu-central-1": "its region is eu-west-1 and eu-central-1, and its ARN's is us-east-1",
		"awskms:///alias/x?regoin=eu-west-1":                                                          "its query has regoin, where region and endpoint may be",
		"awskms:///alias/x?endpoint=example.com":                                                      "its endpoint is no http or https URL",
		"awskms:///alias/x?endpoint=https://a:b@c":                                                    "or has a user",
		"awskms:///arn:aws:kms:us-east-1:111122223333:key/k?region=eu-west-1":                         "its region is eu-west-1, and its ARN's is us-east-1",
		"awskms://AKIA:secret@host/alias/x":                                                           "it has a user in it; credentials come from the SDK's configuration",
		"awskms:///alias/x?endpoint=https%3A%2F%2Fa%3Asecret%40c":                                     "or has a user",
		"awskms:AKIA:secret@host":                                                                     "there is no key after three slashes",
		"AKIA:secret@host/alias/x":                                                                    `its scheme is "akia"`,
		"awskms:///alias/x?endpoint=ftp://a":                                                          "is no http or https URL",
		"awskms:///alias/x?a;b":                                                                       "its query does not parse",
		"awskms:///%zz":                                                                               "it is no URI at all",
	} {
		_, err := awskms.Open(t.Context(), uri)
		require.ErrorContains(t, err, want, uri)
		require.ErrorContains(t, err, "one reads awskms:///alias/release?region=eu-west-1", uri)
		require.NotContains(t, err.Error(), "secret")
		var e *signer.Error
		require.ErrorAs(t, err, &e)
	}
}

func TestOpenAsksByHTTPOnThisMachineOnly(t *testing.T) {
	environment(t)
	for _, endpoint := range []string{
		"https://kms.example.com", "https://10.0.0.1:8443", "https://[::1]",
		"http://127.0.0.1:4566", "http://127.9.9.9", "http://localhost:4566", "http://[::1]:4566", "http://[::ffff:127.0.0.1]",
	} {
		_, err := awskms.Open(t.Context(), "awskms:///alias/x?region=eu-west-1&endpoint="+url.QueryEscape(endpoint))
		require.NoError(t, err, endpoint)
	}
	for _, endpoint := range []string{
		"http://kms.example.com", "http://10.0.0.1:4566", "http://[fe80::1]", "http://0.0.0.0", "http://[::]", "http://localhost.example.com",
		"http://127.0.0.1.example.com", "http://2130706433", "http://0x7f000001", "http://127.1", "http://LOCALHOST.", "HTTP://kms.example.com",
	} {
		_, err := awskms.Open(t.Context(), "awskms:///alias/x?region=eu-west-1&endpoint="+url.QueryEscape(endpoint))
		require.ErrorContains(t, err, "its endpoint is to be asked by http", endpoint)
		require.ErrorContains(t, err, "give an https URL, or make a client for it and call awskms.New")
	}
	for _, endpoint := range []string{"file:///etc/passwd", "unix:///run/kms.sock", "ftp://127.0.0.1", "http:127.0.0.1", "http:///127.0.0.1", "//127.0.0.1", "http://a@127.0.0.1", "http://127.0.0.1:x", "http://:4566"} {
		_, err := awskms.Open(t.Context(), "awskms:///alias/x?region=eu-west-1&endpoint="+url.QueryEscape(endpoint))
		require.ErrorContains(t, err, "its endpoint is", endpoint)
	}
}

func TestOpenReadsNoMoreOfHeadersThanOfAnswers(t *testing.T) {
	environment(t)
	im := &imposter{reply: said("HTTP/1.1 200 OK\r\nX-Filler: ", strings.Repeat("x", 100_000), "\r\nContent-Length: 0\r\n\r\n")}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer im.conns.Wait()
	defer ln.Close()
	im.listen(ln)
	provider, err := awskms.Open(t.Context(), "awskms:///alias/x?region=eu-west-1&endpoint=http://"+ln.Addr().String())
	require.NoError(t, err)
	_, err = provider.ProvideKey(t.Context())
	require.ErrorContains(t, err, "headers exceeded 65536 bytes")
}

// FuzzOpen opens any string. What is refused is refused in one line that shows no
// password; what is not is a key, by https or on this machine.
func FuzzOpen(f *testing.F) {
	f.Add("awskms:///alias/release?region=eu-west-1")
	f.Add("awskms:///mrk-1?region=eu-west-1&region=eu-central-1&endpoint=http://127.0.0.1:1&endpoint=http://127.0.0.1:2")
	f.Add("awskms:///arn:aws:kms:us-east-1:111122223333:key/mrk-1?endpoint=http://127.0.0.1:1")
	f.Add("awskms:///alias/x?endpoint=https%3A%2F%2Fuser%3Apassword%40example.com")
	f.Add("awskms:///alias/x%0a?reg%0aion=%1b[2J#%1b[2J")
	f.Fuzz(func(t *testing.T, uri string) {
		provider, err := awskms.Open(t.Context(), uri)
		if err != nil {
			requirePlain(t, err)
			return
		}
		require.NotNil(t, provider)
		u, err := url.Parse(uri)
		require.NoError(t, err)
		require.Equal(t, "awskms", u.Scheme)
		for _, endpoint := range u.Query()["endpoint"] {
			e, err := url.Parse(endpoint)
			require.NoError(t, err)
			ip := net.ParseIP(e.Hostname())
			require.True(t, e.Scheme == "https" || e.Hostname() == "localhost" || ip != nil && ip.IsLoopback(), endpoint)
			require.Nil(t, e.User)
		}
	})
}
