package main

import (
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func TestTimelineTellsWhoSignedAndThatNothingWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		require.NoError(t, run(t.Context(), nil, &out, io.Discard))
		require.Regexp(t, `\n7\d\d signatures, none lost\n$`, out.String())

		const home, away = "us-east-1 ▪", "eu-west-1 ▪"
		for at, want := range map[string]struct {
			state   string
			by, not string
			slowest string // a pattern
		}{
			"1.5":  {"well", home, away, `\d\dms`},
			"2.5":  {"hung", away, home, `[23]\d\dms`}, // calls that began in the first moments of it
			"5.0":  {"hung", away, home, `\d{2,3}ms`},  // and those that began later
			"8.0":  {"well", home, away, `\d\dms`},     // home again
			"9.5":  {"throttled", away, home, `\d+ms`}, //
			"12.5": {"well", home, away, `\d\dms`},     //
			"14.5": {"down", away, home, `\d{2,3}ms`},  //
			"18.0": {"well", home, away, `\d{2}ms`},    //
		} {
			line := regexp.MustCompile(`(?m)^ *` + regexp.QuoteMeta(at) + `s  .*$`).FindString(out.String())
			require.Contains(t, line, want.state, at)
			require.Contains(t, line, want.by, at)
			require.NotContains(t, line, want.not, at)
			require.Regexp(t, ` `+want.slowest+` `, line)
		}
	})
}

func TestKeyOfOnesOwnSigns(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	srv := kmstest.NewServer()
	defer srv.Close()
	away := srv.Replica("eu-central-1")
	id := srv.CreateKey(types.KeySpecRsa2048)
	uri := "awskms:///" + id + "?region=us-east-1&region=eu-central-1&endpoint=" + srv.Endpoint() + "&endpoint=" + away.Endpoint()
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-key", uri, "-for", "200ms"}, &out, io.Discard))
	require.Regexp(t, `\d signatures, none lost`, out.String())

	for _, faulty := range []*kmstest.Server{srv, away} {
		faulty.Deny(id)
	}
	require.ErrorContains(t, run(t.Context(), []string{"-key", uri, "-for", "200ms"}, io.Discard, io.Discard), "access denied")
}

func TestALostSignatureIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		id := srv.CreateKey(types.KeySpecEccNistP256)
		key, err := signer.NewBuilder(awskms.New(srv.Client(), id)).Defaults(signer.Defaults{}).Build(t.Context())
		require.NoError(t, err)
		defer key.Close()
		time.AfterFunc(signEvery*5/2, func() { srv.Deny(id) })
		var out strings.Builder
		err = newTimeline(&out, schedule).sign(t.Context(), key, signEvery*4)
		require.ErrorContains(t, err, "2 of 4 signatures were lost; the first: ")
		require.ErrorContains(t, err, "access denied")
		require.NotContains(t, out.String(), "none lost")
	})
}

func TestANegativeTimeIsAMistake(t *testing.T) {
	require.EqualError(t, run(t.Context(), []string{"-for", "-5s"}, io.Discard, io.Discard), "-for is -5s; it must be at least 0")
}

func TestInterruptEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), schedule[0].length*3/2)
		defer cancel()
		require.ErrorIs(t, run(ctx, nil, io.Discard, io.Discard), context.DeadlineExceeded)
	})
}
