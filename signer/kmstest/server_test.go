package kmstest_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret/signer/kmstest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// newServer makes a server that is closed with the test.
func newServer(t *testing.T) *kmstest.Server {
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	return srv
}

// overTCP makes a client as any program would, with nothing but the server's URL.
func overTCP(srv *kmstest.Server) *kms.Client {
	return kms.New(kms.Options{
		Region:       srv.Region(),
		Credentials:  credentials.NewStaticCredentialsProvider("id", "secret", ""),
		BaseEndpoint: aws.String(srv.Endpoint()),
	})
}

// once is the option of a call that is one request, whatever comes of it.
func once(o *kms.Options) { o.Retryer = aws.NopRetryer{} }

// signWith signs the same message with a P-256 key, in one request.
func signWith(ctx context.Context, client *kms.Client, keyID string) (*kms.SignOutput, error) {
	return client.Sign(ctx, &kms.SignInput{
		KeyId:            &keyID,
		Message:          []byte("message"),
		SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
	}, once)
}

// TestSynctest runs an hour's outage, with the SDK's own retries and their
// backoff, and ends a moment later.
func TestSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		id := srv.CreateKey(types.KeySpecEccNistP256)
		client := srv.Client()

		srv.Inject(kmstest.Faults{
			Down:    true,
			Latency: kmstest.LogNormal(15*time.Millisecond, 400*time.Millisecond),
		})
		start := time.Now()
		time.AfterFunc(time.Hour, func() { srv.Inject(kmstest.Faults{}) })

		failures := 0
		for {
			_, err := client.Sign(t.Context(), &kms.SignInput{
				KeyId:            &id,
				Message:          []byte("message"),
				SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
			})
			if err == nil {
				break
			}
			failures++
			<-time.After(10 * time.Second)
		}
		assert.InDelta(t, time.Hour, time.Since(start), float64(time.Minute))
		assert.Greater(t, failures, 300)
		counts := srv.Stats().Op("Sign")
		assert.Greater(t, counts.Requests, failures+1, "the SDK retries")
		assert.Equal(t, kmstest.Counts{Requests: counts.Requests, OK: 1, Unavailable: counts.Requests - 1}, counts)
	})
}

func TestManyClientsAtOnce(t *testing.T) {
	srv := newServer(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	shared := srv.Client()
	const goroutines, each = 200, 3

	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				_, err := signWith(t.Context(), shared, id)
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, kmstest.Counts{Requests: goroutines * each, OK: goroutines * each}, srv.Stats().Op("Sign"))
}

func TestCloseEndsWhatHangs(t *testing.T) {
	for name, client := range map[string]func(*kmstest.Server) *kms.Client{
		"memory":   (*kmstest.Server).Client,
		"loopback": overTCP,
	} {
		t.Run(name, func(t *testing.T) {
			srv := kmstest.NewServer()
			id := srv.CreateKey(types.KeySpecEccNistP256)
			arrived := make(chan struct{})
			srv.Inject(kmstest.Faults{Hang: 1, Latency: arrival(arrived)})
			failed := make(chan error)
			go func() {
				_, err := signWith(context.Background(), client(srv), id)
				failed <- err
			}()
			<-arrived
			srv.Close()
			assert.Error(t, <-failed)
			srv.Close() // and again
			c := srv.Stats().Op("Sign")
			assert.Equal(t, 1, c.Requests)
			// Close may catch it before the fault does.
			assert.Equal(t, 1, c.Hung+c.Canceled, c)
		})
	}
}

func TestClosed(t *testing.T) {
	srv := kmstest.NewServer()
	id := srv.CreateKey(types.KeySpecEccNistP256)
	url := srv.Endpoint()
	srv.Close()

	_, err := signWith(t.Context(), srv.Client(), id)
	assert.ErrorContains(t, err, "connection refused")
	_, err = http.Get(url)
	assert.ErrorContains(t, err, "refused")
	assert.Equal(t, url, srv.Endpoint())

	late := srv.Replica("eu-west-1")
	_, err = signWith(t.Context(), late.Client(), id)
	assert.ErrorContains(t, err, "connection refused", "a replica made after Close")
	_, err = http.Get(late.Endpoint())
	assert.ErrorContains(t, err, "refused")
}

func TestAListenerOfTLS(t *testing.T) {
	// httptest knows how to make a certificate, and a client that trusts it.
	front := httptest.NewUnstartedServer(nil)
	front.StartTLS()
	front.Close()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", front.TLS)
	require.NoError(t, err)
	srv := newServer(t)
	srv.AddListener(ln)
	client := kms.New(kms.Options{
		Region:       srv.Region(),
		Credentials:  credentials.NewStaticCredentialsProvider("id", "secret", ""),
		BaseEndpoint: aws.String("https://" + ln.Addr().String()),
		HTTPClient:   front.Client(),
	})
	id := srv.CreateKey(types.KeySpecEccNistP256)
	_, err = signWith(t.Context(), client, id)
	require.NoError(t, err)
	require.Equal(t, 1, srv.Stats().Connections)

	srv.Inject(kmstest.Faults{Reset: 1})
	_, err = signWith(t.Context(), client, id)
	require.ErrorContains(t, err, "request send failed")
	require.Equal(t, 1, srv.Stats().Op("Sign").Reset)

	srv.Close()
	_, err = signWith(t.Context(), client, id)
	require.ErrorContains(t, err, "refused")
	late, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv.AddListener(late)
	_, err = late.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

// A client made from the options of another keeps its connections in memory.
func TestClientOptionsMakeClients(t *testing.T) {
	srv := newServer(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	_, err := signWith(t.Context(), kms.New(srv.Client().Options()), id)
	assert.NoError(t, err)
}

func TestEndpointIsLazy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		// Waits for ever, were anything in the bubble blocked in the network.
		<-time.After(time.Hour)
	})
}

// The longest requests and answers fill more than one of net/http's buffers, which
// is where a connection shows whether it is enough like TCP. Over TCP, too, the SDK
// now and then closes such a request's body a moment before net/http has read to
// its end, and loses the connection; the SDK's retries are for that.
func TestLongRequestsAndAnswers(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	description := strings.Repeat("x", 8192)
	lost := 0
	for range 200 {
		out, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{Description: &description}, once)
		if err != nil {
			lost++
			continue
		}
		assert.Equal(t, description, *out.KeyMetadata.Description)
	}
	assert.LessOrEqual(t, lost, 10)
}
