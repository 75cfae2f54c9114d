package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret/signer/kmstest"
)

func TestMain(m *testing.M) {
	// The server waits half a second after it has refused a large body.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

func TestEveryAlgorithmsTokensAreIssuedAndVerifiedTwice(t *testing.T) {
	var out, stderr strings.Builder
	require.NoError(t, run(t.Context(), []string{"-n", "10"}, &out, &stderr))
	t.Log("\n" + out.String())
	for _, a := range algorithms {
		require.Regexp(t, string(a.name)+`\s+10\s+10\s+10\s`, out.String())
	}
	require.Regexp(t, `asked to sign: .* 1\d\d OK`, out.String(), "one each, and those that came too late on a busy machine")
	require.Empty(t, stderr.String())
}

func TestTheBadDayIsWithinTheStacksRetryBudget(t *testing.T) {
	// That of signer.Defaults is 20 %: with more faults, a run with a large -n loses tokens.
	require.LessOrEqual(t, faults.Throttle+faults.Internal+faults.Hang+faults.Corrupt, 0.2)
}

func TestOneAlgorithmIsEnough(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-n", "3", "-alg", "ES384"}, &out, io.Discard))
	require.Regexp(t, `ES384\s+3\s+3\s+3\s`, out.String())
	require.NotContains(t, out.String(), "RS256")
}

func TestAKeyOfAnotherKMSIsUsed(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	srv := kmstest.NewServer()
	defer srv.Close()
	uri := "awskms:///" + srv.CreateKey(types.KeySpecEccNistP384) + "?region=us-east-1&endpoint=" + srv.Endpoint()
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-n", "5", "-key", uri}, &out, io.Discard))
	require.Regexp(t, `ES384\s+5\s+5\s+5\s`, out.String())
	require.NotContains(t, out.String(), "The KMS")
	require.GreaterOrEqual(t, srv.Stats().Op("Sign").OK, 5, "one each, and those that came too late on a busy machine")

	err := run(t.Context(), []string{"-key", uri, "-alg", "RS256"}, io.Discard, io.Discard)
	require.EqualError(t, err, "the key cannot sign RS256; it signs ES384")
}

func TestMistakesOnTheCommandLineGetOneClearLine(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-nope"}, "flag provided but not defined: -nope; -h lists the flags"},
		{[]string{"extra"}, `"extra" is no flag; -h lists them`},
		{[]string{"-n", "0"}, "-n is 0; it must be at least 1"},
		{[]string{"-alg", "HS256"}, `-alg is "HS256"; it must be one of RS256, RS384, `},
		{[]string{"-key", "kms:foo"}, "is no key URI"},
	} {
		var out, stderr strings.Builder
		err := run(t.Context(), tc.args, &out, &stderr)
		require.ErrorContains(t, err, tc.want)
		require.NotContains(t, err.Error(), "\n")
		require.Empty(t, stderr.String())
	}
	var help strings.Builder
	require.Error(t, run(t.Context(), []string{"-h"}, io.Discard, &help))
	require.Contains(t, help.String(), "-alg")
}

func TestInterruptEndsARun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := run(ctx, []string{"-n", "1000000", "-alg", "ES256"}, io.Discard, io.Discard)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
