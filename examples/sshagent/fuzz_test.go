package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/turretgo/turret/signer"
)

// FuzzConnection sends bytes to a connection. Every message in them gets one
// answer, a signature only if it verifies; what is no message ends the connection.
func FuzzConnection(f *testing.F) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public, err := ssh.NewPublicKey(private.Public())
	require.NoError(f, err)
	blob := public.Marshal()

	for _, messages := range [][][]byte{
		{{11}},
		{{1}, {9}, {19}, {99}, {17}, {20}},
		{signRequest(blob, []byte("data"), 0)},
		{signRequest(blob, []byte("data"), 2), signRequest(blob, nil, 0), signRequest(nil, nil, 0)},
		{signRequest(blob, make([]byte, maxMessage+1), 0)},
		{ssh.Marshal(struct {
			Passphrase []byte `sshtype:"22"`
		}{[]byte("x")}), {11}, signRequest(blob, nil, 0)},
		{ssh.Marshal(struct {
			Name string `sshtype:"27"`
			Rest []byte `ssh:"rest"`
		}{"session-bind@openssh.com", []byte("contents")})},
	} {
		var conn []byte
		for _, m := range messages {
			conn = append(conn, frame(m)...)
		}
		f.Add(conn)
	}
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 13})
	f.Add([]byte{0, 0, 0, 5, 13})

	f.Fuzz(func(t *testing.T, sent []byte) {
		key, err := signer.NewBuilder(signer.Wrap(private, signer.WrapOptions{})).Build(t.Context())
		require.NoError(t, err)
		ring := &keyring{}
		defer ring.close()
		require.NoError(t, ring.add("key", key))

		client, conn := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			(&server{keys: ring}).stream(context.Background(), conn, discard)
		}()
		defer func() { client.Close(); <-ended }()

		rest := bytes.NewReader(sent)
		for {
			request, err := readRequest(rest)
			if err != nil {
				break
			}
			reply := exchange(t, client, request[4:])
			if reply[0] == 14 {
				verify(t, public, request[4:], reply)
			}
		}
		// Then all at once, the rest included, to a client that reads but does not wait.
		go io.Copy(io.Discard, client)
		_, _ = client.Write(sent)
	})
}

// verify checks a signature against the request that it answers.
func verify(t *testing.T, public ssh.PublicKey, request, reply []byte) {
	var asked struct {
		Blob  []byte `sshtype:"13"`
		Data  []byte
		Flags uint32
	}
	var got struct {
		Blob []byte `sshtype:"14"`
	}
	var signature ssh.Signature
	require.NoError(t, ssh.Unmarshal(request, &asked))
	require.NoError(t, ssh.Unmarshal(reply, &got))
	require.NoError(t, ssh.Unmarshal(got.Blob, &signature))
	require.Equal(t, public.Marshal(), asked.Blob)
	require.NoError(t, public.Verify(asked.Data, &signature))
}
