package awskms_test

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
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

func TestOpenKeepsItsConnectionsBetweenBursts(t *testing.T) {
	environment(t)
	srv := server(t)
	provider, err := awskms.Open(t.Context(), "awskms:///"+srv.CreateKey(types.KeySpecEccNistP256)+"?region=us-east-1&endpoint="+srv.Endpoint())
	require.NoError(t, err)
	s, err := signer.NewBuilder(provider).SkipVerify().Build(t.Context())
	require.NoError(t, err)
	const bursts, size = 6, 64
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
	// With the SDK's ten idle connections each burst dials some fifty anew.
	require.Less(t, srv.Stats().Connections, 2*size)
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
		"awskms://user@/alias/release":              "stands where a host does",
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
		"awskms://AKIA:secret@host/alias/x":                                                           "stands where a host does",
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

func FuzzOpen(f *testing.F) {
	f.Add("awskms:///alias/release?region=eu-west-1")
	f.Add("awskms:///mrk-1?region=eu-west-1&region=eu-central-1&endpoint=http://127.0.0.1:1&endpoint=http://127.0.0.1:2")
	f.Add("awskms:///arn:aws:kms:us-east-1:111122223333:key/mrk-1?endpoint=http://127.0.0.1:1")
	f.Fuzz(func(t *testing.T, uri string) {
		provider, err := awskms.Open(t.Context(), uri)
		var e *signer.Error
		switch {
		case err != nil && !errors.As(err, &e):
			t.Fatalf("not a signer.Error: %v", err)
		case err == nil && provider == nil:
			t.Fatal("neither a provider nor an error")
		}
	})
}
