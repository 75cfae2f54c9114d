package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/acme"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func TestMain(m *testing.M) {
	// Pebble's validator takes its tasks from a channel that nobody closes.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

func TestAKMSKeyOrdersACertificate(t *testing.T) {
	for _, spec := range []string{"P-256", "P-384", "P-521", "RSA-2048"} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			require.NoError(t, run(t.Context(), []string{"-spec", spec}, &out, io.Discard))
			t.Log("\n" + out.String())
			require.Regexp(t, `Account +https://127\.0\.0\.1:\d+/\S+, whose key is (ECDSA|RSA) `+strings.TrimPrefix(spec, "RSA-"), out.String())
			require.Regexp(t, `www\.example\.com, issued by Pebble Intermediate CA`, out.String())
			require.Regexp(t, `It verifies up to Pebble Root CA`, out.String())
			require.Regexp(t, `another key now`, out.String())
			require.Regexp(t, `throttled [1-9]\d* of the requests`, out.String())
		})
	}
}

// setup has a CA, a KMS that throttles, and keys in it.
func setup(t *testing.T, spec types.KeySpec) (*authority, func() *signer.Signer) {
	t.Helper()
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	srv.Inject(kmstest.Faults{Seed: 1, Throttle: 0.20})
	ca, err := startAuthority()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ca.close()) })
	return ca, func() *signer.Signer {
		s, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(spec))).Defaults(signer.Defaults{}).Build(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s
	}
}

// spender uses up the nonce of every second request before the CA gets that: it
// sends it to another URL first, where the CA looks at the nonce and then at the
// URL that was signed.
type spender struct {
	base  http.RoundTripper
	posts atomic.Int64
	spent atomic.Int64
}

func (s *spender) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost || s.posts.Add(1)%2 == 0 {
		return s.base.RoundTrip(req)
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	astray := req.Clone(req.Context())
	astray.Body, astray.URL.RawQuery = body, "astray"
	resp, err := s.base.RoundTrip(astray)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	resp, err = s.base.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusBadRequest {
		s.spent.Add(1)
	}
	return resp, err
}

func TestALostNonceIsSignedAgain(t *testing.T) {
	for _, spec := range []types.KeySpec{types.KeySpecEccNistP256, types.KeySpecEccNistP384, types.KeySpecRsa2048} {
		t.Run(string(spec), func(t *testing.T) {
			ca, newKey := setup(t, spec)
			client := ca.client(newKey())
			_, err := register(t.Context(), client)
			require.NoError(t, err)

			nonces := &spender{base: client.HTTPClient.Transport}
			client.HTTPClient = &http.Client{Transport: nonces}
			key := newKey()
			chain, err := obtain(t.Context(), client, ca.challenges, domain, key)
			require.NoError(t, err)
			require.NoError(t, verify(chain, ca.root, domain, key))
			require.Greater(t, nonces.spent.Load(), int64(3), "requests that were refused for their nonce")
		})
	}
}

func TestTheOldKeyIsGoodForNothingAfterARollOver(t *testing.T) {
	ca, newKey := setup(t, types.KeySpecEccNistP384)
	before, after := newKey(), newKey()
	client := ca.client(before)
	account, err := register(t.Context(), client)
	require.NoError(t, err)
	require.NoError(t, rollOver(t.Context(), client, after))

	_, err = ca.client(before).GetReg(t.Context(), "")
	require.ErrorIs(t, err, acme.ErrNoAccount)
	same, err := ca.client(after).GetReg(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, account.URI, same.URI)
}

func TestTheCALooksAtTheChallenge(t *testing.T) {
	ca, newKey := setup(t, types.KeySpecEccNistP256)
	client := ca.client(newKey())
	_, err := register(t.Context(), client)
	require.NoError(t, err)
	elsewhere, err := startResponder()
	require.NoError(t, err)
	defer func() { require.NoError(t, elsewhere.close()) }()
	_, err = obtain(t.Context(), client, elsewhere, domain, newKey())
	require.ErrorContains(t, err, "proving control of www.example.com")
	require.ErrorContains(t, err, "404")
}

func TestACertificateIsCheckedBeforeItIsUsed(t *testing.T) {
	ca, newKey := setup(t, types.KeySpecEccNistP256)
	client, key := ca.client(newKey()), newKey()
	_, err := register(t.Context(), client)
	require.NoError(t, err)
	chain, err := obtain(t.Context(), client, ca.challenges, domain, key)
	require.NoError(t, err)
	other, err := startAuthority()
	require.NoError(t, err)
	defer func() { require.NoError(t, other.close()) }()

	require.NoError(t, verify(chain, ca.root, domain, key))
	require.Error(t, verify(chain, other.root, domain, key), "another CA's root")
	require.Error(t, verify(chain, ca.root, "www.example.org", key), "another name")
	require.Error(t, verify(chain, ca.root, domain, newKey()), "another key")
}

// An Ed25519 key can be in a KMS, and cannot be an account's.
func TestAKeyThatACMEDoesNotKnowIsRefused(t *testing.T) {
	ca, newKey := setup(t, types.KeySpecEccNistEdwards25519)
	_, err := register(t.Context(), ca.client(newKey()))
	require.ErrorIs(t, err, acme.ErrUnsupportedKey)
}

func TestAnInterruptEndsTheProgram(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, nil, io.Discard, io.Discard), context.Canceled)
}

func TestTheAccountsKeyCanBeOfAnotherKMS(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	srv := kmstest.NewServer()
	defer srv.Close()
	uri := "awskms:///" + srv.CreateKey(types.KeySpecEccNistP384) + "?region=us-east-1&endpoint=" + srv.Endpoint()
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-key", uri}, &out, io.Discard))
	require.Contains(t, out.String(), "whose key is ECDSA P-384")
	require.Positive(t, srv.Stats().Op("Sign").OK)
}

func TestMistakesOnTheCommandLineGetOneClearLine(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-nope"}, "flag provided but not defined: -nope; -h lists the flags"},
		{[]string{"extra"}, `"extra" is no flag; -h lists them`},
		{[]string{"-spec", "Ed25519"}, `-spec is "Ed25519"; it must be P-256, P-384, P-521 or RSA-2048`},
		{[]string{"-key", "kms:foo"}, "is no key URI"},
	} {
		err := run(t.Context(), tc.args, io.Discard, io.Discard)
		require.ErrorContains(t, err, tc.want)
		require.NotContains(t, err.Error(), "\n")
	}
	var help strings.Builder
	require.Error(t, run(t.Context(), []string{"-h"}, io.Discard, &help))
	require.Contains(t, help.String(), "-spec")
}
