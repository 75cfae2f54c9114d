package awskms_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/timeout"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// gigabytes is how much a hostile KMS sends of what has no end. It is less than
// gigabytes so that a test that fails does not take the machine with it.
const gigabytes = 256 << 20

// reply is a hostile KMS: what it writes to a connection once it has a request.
type reply func(io.Writer) error

// said writes texts, and then nothing any more.
func said(texts ...string) reply {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(texts, ""))
		return err
	}
}

// endless writes a beginning, and then the same again and again.
func endless(beginning, again string) reply {
	chunk := []byte(strings.Repeat(again, 32<<10/len(again)))
	return func(w io.Writer) error {
		_, err := io.WriteString(w, beginning)
		for sent := 0; err == nil && sent < gigabytes; sent += len(chunk) {
			_, err = w.Write(chunk)
		}
		return err
	}
}

// trickle writes a beginning, and then the same again and again, a second apart.
func trickle(beginning, again string) reply {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, beginning)
		for err == nil {
			<-time.After(time.Second) // in a bubble
			_, err = io.WriteString(w, again)
		}
		return err
	}
}

const (
	chunked  = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	toTheEnd = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" // what follows is the body, to the end of the connection
	refusal  = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
)

// bomb is an answer of a few hundred kilobytes that unpacks to gigabytes.
var bomb = sync.OnceValue(func() string {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	_, _ = io.WriteString(w, `{"KeyId":"`)
	_ = endless("", "A")(w)
	_ = w.Close()
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", packed.Len(), packed.Bytes())
})

// hostilities are what a KMS, or who stands in for it, may do instead of
// answering, with a part of the error that says so. Those without end the call by
// its timeout, which the error then is.
var hostilities = map[string]struct {
	reply reply
	want  string
}{
	"a body without end":              {endless(toTheEnd, " "), "HTTP 200: %s: the answer is longer than 65536 bytes"},
	"chunks without end":              {endless(chunked, "8\r\n        \r\n"), "HTTP 200: %s: the answer is longer than 65536 bytes"},
	"a string without end":            {endless(toTheEnd+`{"KeyId":"`, "A"), "the answer is longer than 65536 bytes"},
	"a terabyte announced":            {endless("HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n{", " "), "the answer is longer than 65536 bytes"},
	"an error without end":            {endless(refusal+`{"__type":"ValidationException","message":"`, "y"), "HTTP 400: %s: failed to copy error response body, the answer is longer than 65536 bytes"},
	"an answer packed to a millionth": {func(w io.Writer) error { return said(bomb())(w) }, "the answer is longer than 65536 bytes"},
	"headers without end":             {endless("HTTP/1.1 200 OK\r\n", "X-Filler: "+strings.Repeat("x", 1000)+"\r\n"), "KMS cannot be reached: %s: Post"},
	"a header without end":            {endless("HTTP/1.1 200 OK\r\nX-Filler: ", "x"), "KMS cannot be reached"},
	"a first line without end":        {endless("HTTP/1.1 200 ", "x"), "KMS cannot be reached"},
	"continue, without end":           {endless("", "HTTP/1.1 100 Continue\r\n\r\n"), "KMS cannot be reached"},
	"early hints, without end":        {endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), "KMS cannot be reached"},
	"a million arrays":                {said(toTheEnd, `{"KeyUsage":`, strings.Repeat("[", 1e6)), "the answer is longer than 65536 bytes"},
	"a million arrays in an error":    {said(refusal, `{"__type":`, strings.Repeat("[", 1e6)), "the answer is longer than 65536 bytes"},
	"30,000 arrays":                   {said(toTheEnd, `{"x":`, strings.Repeat("[", 30_000), strings.Repeat("]", 30_000), "}"), ""},
	"30,000 arrays in a list":         {said(toTheEnd, `{"SigningAlgorithms":`, strings.Repeat("[", 30_000), strings.Repeat("]", 30_000), "}"), ""},
	"30,000 arrays in an error":       {said(refusal, `{"code":`, strings.Repeat("[", 30_000), strings.Repeat("]", 30_000), "}"), "the answer does not read as one of KMS's"},
	"60,000 open braces":              {said(toTheEnd, strings.Repeat(`{"a":`, 12_000)), "the answer does not read as one of KMS's"},
	"no HTTP":                         {said("SSH-2.0-OpenSSH_9.9\r\n\r\n"), "KMS cannot be reached"},
	"HTTP/2, unasked":                 {said("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"), "KMS cannot be reached"},
	"HTTP/2 frames, unasked":          {said("\x00\x00\x12\x04\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 18) + "\r\n\r\n"), "KMS cannot be reached"},
	"two lengths":                     {said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"), "KMS cannot be reached"},
	"a length below zero":             {said("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}"), "KMS cannot be reached"},
	"a chunk of no number":            {said(chunked, "zz\r\n{}\r\n0\r\n\r\n"), "HTTP 200: %s: "},
	"a chunk longer than can be":      {said(chunked, "fffffffffffffffff\r\n{}\r\n"), "HTTP 200: %s: "},
	"chunk extensions without end":    {endless(chunked+"1;", "x"), "HTTP 200: %s: "},
	"trailers without end":            {endless(chunked+"2\r\n{}\r\n0\r\n", "X-Filler: x\r\n"), "HTTP 200: %s: "},
	"another protocol":                {trickle("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: kms\r\n\r\n", "x"), "KMS cannot be reached: %s: the endpoint switches to another protocol"},
	"nothing, and hangs up":           {said(""), "KMS cannot be reached"},
	"a body of nothing":               {said("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ""},
	"null":                            {said(toTheEnd, "null"), ""},
	"no content":                      {said("HTTP/1.1 204 No Content\r\n\r\n"), ""},
	"a body cut short":                {said("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "unexpected EOF"},
}

// slowly are those that never come to an end, and are ended.
var slowly = map[string]reply{
	"silence":                         trickle("", ""),
	"a body of a byte a second":       trickle(toTheEnd, " "),
	"a chunk a second":                trickle(chunked, "1\r\n \r\n"),
	"an error of a byte a second":     trickle(refusal+`{"__type":"`, "x"),
	"a first line of a byte a second": trickle("HTTP/1.1 200 ", "x"),
	"a header a second":               trickle("HTTP/1.1 200 OK\r\n", "X-Filler: x\r\n"),
	"a body announced, and silence":   trickle("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", ""),
	"continue, a second":              trickle("", "HTTP/1.1 100 Continue\r\n\r\n"),
	"a packed body, a byte a second":  trickle("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", "\x00"),
}

// imposter makes connections to a hostile KMS.
type imposter struct {
	reply    reply
	conns    sync.WaitGroup
	requests atomic.Int64
	written  atomic.Int64 // bytes
}

const latency = time.Millisecond

// serve answers the first request of a connection as a hostile KMS, and hangs up.
func (im *imposter) serve(conn net.Conn) {
	defer conn.Close()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return
	}
	im.requests.Add(1)
	// Net/http breaks with whoever answers before its writer knows that all is sent.
	<-time.After(latency)
	_ = im.reply(writerFunc(func(p []byte) (int, error) {
		n, err := conn.Write(p)
		im.written.Add(int64(n))
		return n, err
	}))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// inMemory dials an imposter through memory, so that a bubble can hold both.
func (im *imposter) inMemory(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	im.conns.Go(func() { im.serve(server) })
	return client, nil
}

// loopback returns a dial to an imposter that listens on the loopback interface.
func (im *imposter) loopback(t *testing.T) func(context.Context, string, string) (net.Conn, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	im.listen(ln)
	t.Cleanup(func() { ln.Close(); im.conns.Wait() })
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}
}

// listen serves connections until ln is closed.
func (im *imposter) listen(ln net.Listener) {
	im.conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			im.conns.Go(func() { im.serve(conn) })
		}
	})
}

// takenOver is a KMS that another takes the place of: until then the real client
// asks a kmstest, and from then on whom dial leads to.
type takenOver struct {
	honest, hostile kms.HTTPClient
	over            atomic.Bool
}

func (c *takenOver) Do(req *http.Request) (*http.Response, error) {
	if c.over.Load() {
		return c.hostile.Do(req)
	}
	return c.honest.Do(req)
}

// takeOver returns a client of srv that asks whom dial leads to, once it is told.
// Its HTTP client is the SDK's own but for that.
func takeOver(t *testing.T, srv *kmstest.Server, dial func(context.Context, string, string) (net.Conn, error)) (*kms.Client, *takenOver) {
	o := srv.Client().Options()
	hostile := awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.Proxy = nil
		tr.DisableKeepAlives = true // whoever is hostile hangs up
		tr.DialContext = dial
	})
	both := &takenOver{honest: o.HTTPClient, hostile: hostile}
	o.HTTPClient = both
	return kms.New(o), both
}

// allocated is how many bytes the whole process has allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// allowed is what a call may allocate that ended so. Headers are read by net/http,
// up to its own limit of 10 MiB, in buffers that it makes again as they grow.
func allowed(err error) uint64 {
	if strings.Contains(err.Error(), "headers exceeded") {
		return 128 << 20
	}
	return 8 << 20
}

// attempt is how long a hostile KMS may hold up one call below.
const attempt = 2 * time.Second

// TestAHostileKMSGetsASignerNothingButAClearError runs the SDK over real
// connections. Where memory is not bounded, what is allocated is more than what is
// allowed by orders of magnitude.
func TestAHostileKMSGetsASignerNothingButAClearError(t *testing.T) {
	bomb()
	for name, hostility := range hostilities {
		t.Run(name, func(t *testing.T) {
			srv := server(t)
			im := &imposter{reply: hostility.reply}
			client, fall := takeOver(t, srv, im.loopback(t))
			provider := awskms.New(client, srv.CreateKey(types.KeySpecEccNistP256))
			s, err := signer.NewBuilder(provider).Timeout(time.Minute).Build(t.Context())
			require.NoError(t, err)
			fall.over.Store(true)

			for operation, call := range map[string]func() error{
				"GetPublicKey": func() error {
					_, err := provider.ProvideKey(t.Context())
					return err
				},
				"Sign": func() error {
					sig, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
					require.Empty(t, sig)
					return err
				},
			} {
				requests, before := im.requests.Load(), allocated()
				err := call()
				grown := allocated() - before
				t.Log(err)
				if want := hostility.want; strings.Contains(want, "%s") {
					require.ErrorContains(t, err, fmt.Sprintf(want, operation))
				} else {
					require.ErrorContains(t, err, want)
				}
				requirePlain(t, err)
				require.Less(t, grown, allowed(err), "bytes allocated")
				require.Equal(t, requests+1, im.requests.Load(), "it is asked once")
			}
			require.Less(t, im.written.Load(), int64(64<<20), "bytes sent, those in the kernel's buffers included")
		})
	}
}

// requirePlain checks an error that may quote an endpoint: a signer.Error, of one
// line, not too long, without anything that a terminal would obey.
func requirePlain(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	var e *signer.Error
	require.ErrorAs(t, err, &e)
	text := err.Error()
	require.Less(t, len(text), 8000)
	for _, r := range text {
		require.True(t, unicode.IsPrint(r), "%q", text)
	}
}

// TestAHostileKMSHoldsUpACallForItsTimeoutOnly runs all, the slow ones included,
// in virtual time.
func TestAHostileKMSHoldsUpACallForItsTimeoutOnly(t *testing.T) {
	bomb()
	all := map[string]reply{}
	for name, hostility := range hostilities {
		all[name] = hostility.reply
	}
	for name, reply := range slowly {
		all[name] = reply
	}
	for name, reply := range all {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := kmstest.NewServer()
				defer srv.Close()
				im := &imposter{reply: reply}
				defer im.conns.Wait()
				client, fall := takeOver(t, srv, im.inMemory)
				id := srv.CreateKey(types.KeySpecEccNistP256)
				s, err := signer.NewBuilder(awskms.New(client, id)).Timeout(attempt).Build(t.Context())
				require.NoError(t, err)
				fall.over.Store(true)

				start := time.Now()
				sig, err := s.SignMessage(nil, []byte("m"), crypto.SHA256)
				require.Empty(t, sig)
				require.Error(t, err)
				require.LessOrEqual(t, time.Since(start), attempt, "%v", err)
				if slowly[name] != nil {
					require.Equal(t, attempt, time.Since(start), "%v", err)
					require.ErrorIs(t, err, timeout.ErrExceeded)
					require.ErrorContains(t, err, "KMS had not answered in time: Sign")
					require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
				}

				start = time.Now()
				_, err = signer.NewBuilder(awskms.New(client, id)).Timeout(attempt).Build(t.Context())
				require.Error(t, err)
				require.LessOrEqual(t, time.Since(start), signer.DefaultTimeout, "Build ends by itself")
				require.LessOrEqual(t, im.requests.Load(), int64(6), "a Build asks five times at most")
			})
		})
	}
}
