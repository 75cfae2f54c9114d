package main

import (
	"context"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/turretgo/turret/signer/kmstest"
)

// running the program until stop, whose result is that of run.
func program(t *testing.T, args ...string) (socket string, stdout *output, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stdout = &output{}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, args, stdout, io.Discard) }()
	line := regexp.MustCompile(`SSH_AUTH_SOCK='(\S+)'; export SSH_AUTH_SOCK\n`)
	var found []string
	eventually(t, func() bool {
		if len(ended) > 0 {
			t.Fatalf("run: %v", <-ended)
		}
		found = line.FindStringSubmatch(stdout.String())
		return found != nil
	}, "it says where it listens")
	return found[1], stdout, func() error { cancel(); return <-ended }
}

func TestWithoutArgumentsItServesAKMSOfItsOwnAndLeavesNothingBehind(t *testing.T) {
	socket, stdout, stop := program(t)
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	defer conn.Close()
	client := agent.NewClient(conn)
	keys, err := client.List()
	require.NoError(t, err)
	var names []string
	for _, k := range keys {
		names = append(names, k.Comment)
		_, err := client.SignWithFlags(k, []byte("data"), best(k))
		require.NoError(t, err)
	}
	require.Equal(t, []string{"alias/ed25519", "alias/p256", "alias/rsa"}, names)
	require.Contains(t, stdout.String(), "ssh-add -l")

	require.NoError(t, stop())
	require.NoDirExists(t, filepath.Dir(socket))
}

func TestKeysOfAKMSAreServedUnderTheirURIs(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	srv := kmstest.NewServer()
	defer srv.Close()
	query := "?region=us-east-1&endpoint=" + srv.Endpoint()
	uris := []string{"awskms:///" + srv.CreateKey(types.KeySpecEccNistP384) + query, "awskms:///" + srv.CreateKey(types.KeySpecEccNistEdwards25519) + query}
	socket, _, stop := program(t, "-socket", filepath.Join(folder(t), "agent.sock"), "-key", uris[0], "-key", uris[1])
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	defer conn.Close()
	client := agent.NewClient(conn)
	keys, err := client.List()
	require.NoError(t, err)
	require.Len(t, keys, 2)
	for i, k := range keys {
		require.Equal(t, uris[i], k.Comment)
		signature, err := client.Sign(k, []byte("data"))
		require.NoError(t, err)
		public, err := ssh.ParsePublicKey(k.Blob)
		require.NoError(t, err)
		require.NoError(t, public.Verify([]byte("data"), signature))
	}
	require.NoError(t, stop())
	require.NoFileExists(t, socket)
}

func TestMistakesOnTheCommandLineGetOneClearLine(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	srv := kmstest.NewServer()
	defer srv.Close()
	open := folder(t)
	require.NoError(t, os.Chmod(open, 0o755))
	secret := "awskms:///" + srv.CreateKey(types.KeySpecSymmetricDefault) + "?region=us-east-1&endpoint=" + srv.Endpoint()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-nope"}, "flag provided but not defined: -nope; -h lists the flags"},
		{[]string{"extra"}, `"extra" is no flag; -h lists them`},
		{[]string{"-key", "kms:foo"}, "is no key URI"},
		{[]string{"-key", secret}, secret + ": signer: "},
		{[]string{"-socket", filepath.Join(open, "agent.sock")}, "others can enter it"},
	} {
		var stdout, stderr strings.Builder
		err := run(t.Context(), tc.args, &stdout, &stderr)
		require.ErrorContains(t, err, tc.want)
		require.NotContains(t, err.Error(), "\n")
		require.Empty(t, stdout.String())
		require.Empty(t, stderr.String())
	}
	var help strings.Builder
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	require.Contains(t, help.String(), "-socket")
}

func TestASecondAgentOnALiveSocketIsRefused(t *testing.T) {
	socket, _, stop := program(t, "-socket", filepath.Join(folder(t), "agent.sock"))
	err := run(t.Context(), []string{"-socket", socket}, io.Discard, io.Discard)
	require.ErrorContains(t, err, "an agent is listening on "+socket+" already")
	require.FileExists(t, socket)
	require.NoError(t, stop())
}

func TestASocketIsToldByAPathThatHoldsInAnyShell(t *testing.T) {
	for _, name := range []string{"agent.sock", "@agent.sock"} { // which would be an abstract socket, for every user to connect to
		dir := folder(t)
		t.Chdir(dir)
		socket, _, stop := program(t, "-socket", name)
		require.Equal(t, name, filepath.Base(socket))
		require.True(t, filepath.IsAbs(socket), socket)
		require.FileExists(t, socket)
		require.NoError(t, stop())
	}
}

func TestASocketPathIsOneWordForTheShell(t *testing.T) {
	require.Equal(t, `'/tmp/a b/agent.sock'`, quote("/tmp/a b/agent.sock"))
	require.Equal(t, `'it'\''s'`, quote("it's"))
}
