package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/turretgo/turret/signer/kmstest"
)

var discard = slog.New(slog.DiscardHandler)

// frame puts a message's length before it.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

// exchange sends a message and returns the answer.
func exchange(t *testing.T, conn net.Conn, message []byte) []byte {
	t.Helper()
	_, err := conn.Write(frame(message))
	require.NoError(t, err)
	return answer(t, conn)
}

func answer(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	length := make([]byte, 4)
	_, err := io.ReadFull(conn, length)
	require.NoError(t, err)
	message := make([]byte, binary.BigEndian.Uint32(length))
	_, err = io.ReadFull(conn, message)
	require.NoError(t, err)
	return message
}

// signRequest is a message that asks for a signature.
func signRequest(blob, data []byte, flags uint32) []byte {
	return ssh.Marshal(struct {
		Blob  []byte `sshtype:"13"`
		Data  []byte
		Flags uint32
	}{blob, data, flags})
}

func TestMalformedMessagesAreRefusedAndTheConnectionGoesOn(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	valid := signRequest(a.key(t, "p256").Blob, []byte("data"), 0)
	conn := a.dial(t)
	for name, message := range map[string][]byte{
		"no such request":          {99},
		"a request of an answer":   {14, 0, 0},
		"sign, without a body":     {13},
		"sign, cut short":          valid[:len(valid)-1],
		"sign, with a byte more":   append(valid[:len(valid):len(valid)], 0),
		"sign, a length that lies": {13, 0xff, 0xff, 0xff, 0xff},
		"sign, an empty key":       signRequest(nil, nil, 0),
		"lock, without a body":     {22},
		"unlock, cut short":        {23, 0, 0, 0, 9, 'x'},
		"remove, no key":           {18, 0, 0, 0, 0},
		"extension, without name":  {27},
		"add, without a key":       {17},
		"add, constrained":         {25, 0, 0, 0, 7, 's', 's', 'h', '-', 'r', 's', 'a'},
		"smart card":               {20, 0, 0, 0, 0, 0, 0, 0, 0},
		"long and meaningless":     make([]byte, maxRequest),
	} {
		require.Equal(t, []byte{agentFailure}, exchange(t, conn, message), name)
		require.Equal(t, byte(14), exchange(t, conn, valid)[0], "a signature after %s", name)
	}
	require.Contains(t, a.log.String(), `request="number 99" why="`+errNoRequest.Error())
	require.Contains(t, a.log.String(), `request="number 13" why="`+errNoRequest.Error())
	require.Contains(t, a.log.String(), `request=add why="`+errKeysInKMS.Error())
	require.NotContains(t, a.log.String(), `request="number 17"`, "a private key is not even parsed")
	require.NotContains(t, a.log.String(), `request="number 25"`)
}

func TestWhatIsNoMessageEndsItsOwnConnectionOnly(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	valid := signRequest(a.key(t, "p256").Blob, []byte("data"), 0)
	other := a.dial(t)
	for _, tc := range []struct{ name, bytes, want string }{
		{"empty", "\x00\x00\x00\x00", "a request said to be of 0 bytes; it must have 1 to 262144"},
		{"too large", "\x00\x04\x00\x01", "a request said to be of 262145 bytes"},
		{"far too large", "\xff\xff\xff\xff\x0d", "a request said to be of 4294967295 bytes"},
		{"cut in its length", "\x00\x00", "in the length of a request: unexpected EOF"},
		{"cut short", "\x00\x00\x00\x09\x0d", "1 bytes into a request of 9: unexpected EOF"},
		{"only its length", "\x00\x00\x00\x09", "0 bytes into a request of 9: unexpected EOF"},
	} {
		conn := a.dial(t)
		_, err := conn.Write([]byte(tc.bytes))
		require.NoError(t, err, tc.name)
		require.NoError(t, conn.(*net.UnixConn).CloseWrite())
		_, err = conn.Read(make([]byte, 1))
		require.Error(t, err, tc.name)
		a.logs(t, tc.want)
		require.Equal(t, byte(14), exchange(t, other, valid)[0], "a signature for others after %s", tc.name)
	}
}

func TestRequestsThatComeTogetherAreAnsweredInTurn(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	valid := frame(signRequest(a.key(t, "p256").Blob, []byte("data"), 0))
	conn := a.dial(t)
	together := strings.Join([]string{string(frame([]byte{11})), string(valid), string(frame([]byte{99})), string(valid)}, "")
	_, err := io.WriteString(conn, together)
	require.NoError(t, err)
	for _, want := range []byte{12, 14, agentFailure, 14} {
		require.Equal(t, want, answer(t, conn)[0])
	}
}

func TestAClientThatGoesAwayCancelsItsSignature(t *testing.T) {
	a := patient(t)
	blob := a.key(t, "patient").Blob
	a.kms.Inject(kmstest.Faults{Hang: 1})
	conn := a.dial(t)
	_, err := conn.Write(frame(signRequest(blob, []byte("data"), 0)))
	require.NoError(t, err)
	eventually(t, func() bool { return a.kms.Stats().Op("Sign").InFlight == 1 }, "the signature is under way")
	require.NoError(t, conn.Close())
	eventually(t, func() bool { return a.kms.Stats().Op("Sign").Hung == 1 }, "the call has ended")
	require.Equal(t, 1, a.kms.Stats().Op("Sign").Requests)
	a.logs(t, `msg=cancelled`)
	a.logs(t, errGone.Error())
}

func TestASignatureThatHangsHoldsUpNobodyElse(t *testing.T) {
	a := patient(t)
	blob := a.key(t, "patient").Blob
	a.kms.Inject(kmstest.Faults{Hang: 1})
	conn := a.dial(t)
	_, err := conn.Write(frame(signRequest(blob, []byte("data"), 0)))
	require.NoError(t, err)
	eventually(t, func() bool { return a.kms.Stats().Op("Sign").InFlight == 1 }, "the signature is under way")
	a.kms.Inject(kmstest.Faults{})
	require.Equal(t, byte(14), exchange(t, a.dial(t), signRequest(blob, []byte("data"), 0))[0], "the same key signs for another")
	require.Equal(t, 1, a.kms.Stats().Op("Sign").InFlight)
}

func TestInterruptEndsSignaturesAndConnectionsAndRemovesTheSocket(t *testing.T) {
	a := patient(t)
	blob := a.key(t, "patient").Blob
	a.kms.Inject(kmstest.Faults{Hang: 1})
	conn, idle := a.dial(t), a.dial(t)
	_, err := conn.Write(frame(signRequest(blob, []byte("data"), 0)))
	require.NoError(t, err)
	eventually(t, func() bool { return a.kms.Stats().Op("Sign").InFlight == 1 }, "the signature is under way")
	a.stop()
	eventually(t, func() bool { return a.kms.Stats().Op("Sign").InFlight == 0 }, "the call has ended")
	_, err = io.ReadAll(conn)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = io.ReadAll(idle)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoFileExists(t, a.socket)
	_, err = net.Dial("unix", a.socket)
	require.Error(t, err)
}

func TestAClientThatReadsNothingDoesNotHoldUpAnInterrupt(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	conn := a.dial(t)
	list := frame([]byte{11})
	for { // until nobody takes any more, for the agent is stuck in its answers
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
		if _, err := conn.Write(list); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
	}
	a.stop()
}

func TestAClientThatStallsIsHungUpOnAndOneThatIsIdleIsNot(t *testing.T) {
	for name, send := range map[string][]byte{
		"it is idle":                    nil,
		"it stops in the length":        {0, 0},
		"it stops in a request":         {0, 0, 0, 9, 13},
		"it does not read its answer":   frame([]byte{11}),
		"and goes on asking regardless": append(frame([]byte{11}), frame([]byte{11})...),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, conn := net.Pipe()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					(&server{keys: &keyring{}}).stream(t.Context(), conn, discard)
				}()
				_, err := client.Write(send)
				require.NoError(t, err)
				<-time.After(patience - 1) // in a bubble
				synctest.Wait()
				select {
				case <-ended:
					t.Fatal("that was too soon")
				default:
				}
				if send != nil {
					<-ended
					require.NoError(t, client.Close())
					return
				}
				for range 2 {
					require.Equal(t, []byte{12, 0, 0, 0, 0}, exchange(t, client, []byte{11}))
					<-time.After(24 * time.Hour)
				}
				require.NoError(t, client.Close())
				<-ended
			})
		})
	}
}

func TestAClientThatTricklesIsHungUpOn(t *testing.T) {
	const length = 1000 // of the request; it will never be there
	for name, begin := range map[string]func(net.Conn) error{
		"in the length":  func(net.Conn) error { return nil },
		"in the request": func(conn net.Conn) error { _, err := conn.Write(frame(make([]byte, length))[:4]); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, conn := net.Pipe()
				ended := make(chan struct{})
				start := time.Now()
				go func() {
					defer close(ended)
					(&server{keys: &keyring{}}).stream(t.Context(), conn, discard)
				}()
				require.NoError(t, begin(client))
				pace := 25 * time.Second // between the bytes: two of them, and no more, come within a minute
				if name == "in the request" {
					pace = time.Second
				}
				for {
					if _, err := client.Write([]byte{0}); err != nil {
						break
					}
					<-time.After(pace) // in a bubble
				}
				<-ended
				require.LessOrEqual(t, time.Since(start), patience+pace)
			})
		})
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	ring, err := openKeys(t.Context(), sources(srv, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256}))
	require.NoError(t, err)
	a := serving(t, srv, server{keys: ring, connections: 2})
	first, second := a.dial(t), a.dial(t)
	exchange(t, first, []byte{11})
	exchange(t, second, []byte{11})
	third := a.dial(t)
	_, err = third.Read(make([]byte, 1))
	require.Error(t, err)
	a.logs(t, "there are 2, and no more are served at once")

	require.NoError(t, first.Close())
	eventually(t, func() bool { // there is room as soon as the agent has seen it go
		conn := a.dial(t)
		if _, err := conn.Write(frame([]byte{11})); err != nil {
			return false
		}
		n, _ := conn.Read(make([]byte, 1))
		return n == 1
	}, "a connection that ended makes room")
	exchange(t, second, []byte{11})
}

// failing is a listener out of file descriptors for its first call.
type failing struct {
	net.Listener
	failed bool
}

func (f *failing) Accept() (net.Conn, error) {
	if !f.failed {
		f.failed = true
		return nil, errors.New("too many open files")
	}
	return f.Listener.Accept()
}

func TestALackOfFileDescriptorsDoesNotEndTheAgent(t *testing.T) {
	ln, err := listen(folder(t) + "/agent.sock")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	out := &output{}
	s := server{keys: &keyring{}, log: slog.New(slog.NewTextHandler(out, nil))}
	go func() { ended <- s.serve(ctx, &failing{Listener: ln}) }()
	conn, err := net.Dial("unix", ln.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.Equal(t, []byte{12, 0, 0, 0, 0}, exchange(t, conn, []byte{11}))
	require.Contains(t, out.String(), "too many open files")
	cancel()
	require.NoError(t, <-ended)
}

func TestAListenerThatIsClosedByOthersEndsTheAgent(t *testing.T) {
	ln, err := listen(folder(t) + "/agent.sock")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	s := server{keys: &keyring{}, log: discard}
	require.ErrorIs(t, s.serve(t.Context(), ln), net.ErrClosed)
}
