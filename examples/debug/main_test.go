package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret/debug"
	"github.com/turretgo/turret/examples/internal/tool"
	"github.com/turretgo/turret/signer/kmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the example until the test ends, and returns where its page is.
func start(t *testing.T, args ...string) (url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, args, writer, io.Discard)
		writer.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	var said []byte
	for p := make([]byte, 1000); ; {
		n, err := reader.Read(p)
		said = append(said, p[:n]...)
		if found := regexp.MustCompile(`(http://\S+)\?format=json\n`).FindSubmatch(said); found != nil {
			go io.Copy(io.Discard, reader)
			return string(found[1])
		}
		require.NoError(t, err, "it said %s", said)
	}
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
	return body
}

func TestThePageShowsSignersAtWork(t *testing.T) {
	url := start(t)
	require.Contains(t, string(get(t, url)), "<h1>turret</h1>")
	require.Eventually(t, func() bool {
		var r debug.Report
		require.NoError(t, json.Unmarshal(get(t, url+"?format=json"), &r))
		require.Len(t, r.Stacks, 2)
		for _, s := range r.Stacks {
			require.Empty(t, s.Problem)
			if s.Layers[0].Stats.Total.OK < 3 {
				return false
			}
		}
		return true
	}, time.Minute, 50*time.Millisecond)
}

func TestAKeyOfYoursIsShownToo(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	srv := kmstest.NewServer()
	defer srv.Close()
	uri := "awskms:///" + srv.CreateKey(types.KeySpecEccNistEdwards25519) + "?region=us-east-1&endpoint=" + srv.Endpoint()
	url := start(t, "-key", uri)
	require.Contains(t, string(get(t, url+"?stack=yours")), "<b>signer</b> Ed25519")
}

func TestMistakesOnTheCommandLineGetOneClearLine(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-nope"}, "flag provided but not defined: -nope; -h lists the flags"},
		{[]string{"extra"}, `"extra" is no flag; -h lists them`},
		{[]string{"-after", "-1s"}, "-after is -1s; it must be at least 0"},
		{[]string{"-listen", "nowhere:xyz"}, "listen tcp"},
		{[]string{"-key", "kms:foo"}, "is no key URI"},
	} {
		err := run(t.Context(), tc.args, io.Discard, io.Discard)
		require.ErrorContains(t, err, tc.want)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestChromiumTakesAPicture(t *testing.T) {
	tool.Path(t, "chromium", "chromium")
	file := filepath.Join(t.TempDir(), "debug.png")
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-screenshot", file, "-after", "1s"}, &out, io.Discard))
	require.Contains(t, out.String(), "It is in "+file)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	picture, err := png.Decode(bytes.NewReader(raw))
	require.NoError(t, err)
	require.Equal(t, width, picture.Bounds().Dx())
	require.Greater(t, picture.Bounds().Dy(), 800, "of a page with something on it")
	require.Less(t, picture.Bounds().Dy(), height, "without its empty end")
	require.Less(t, len(raw), 250_000)
}

func TestAPictureWithoutChromiumIsRefused(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := run(t.Context(), []string{"-screenshot", filepath.Join(t.TempDir(), "x.png")}, io.Discard, io.Discard)
	require.ErrorContains(t, err, "-screenshot needs Chromium (apt-get install chromium)")
}
