package kmstest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

const (
	account       = "111122223333" // the account of AWS's own documentation
	primaryRegion = "us-east-1"
)

// A Server is the KMS of one Region. All its methods are safe for concurrent use.
type Server struct {
	region string
	family *family
	http   *http.Server
	memory *memListener
	faults injector
	stats  recorder

	// Guarded by family.mu, as an operation may look at several Regions.
	keys    map[string]*key   // by key id
	aliases map[string]string // key ids, by "alias/…"

	done  chan struct{}  // closed by Close: nobody waits any longer
	conns sync.WaitGroup // one a connection, until its goroutine is about to end

	mu       sync.Mutex
	serving  sync.WaitGroup // one a listener
	endpoint string         // empty until asked for
	closed   bool
}

// NewServer starts a server for Region us-east-1 of account 111122223333. It
// has no keys, no faults and no quota. The caller should Close it when finished.
func NewServer() *Server {
	f := &family{servers: make(map[string]*Server)}
	return f.server(primaryRegion)
}

// start serves connections from ln until Close. The caller holds s.mu.
func (s *Server) start(ln net.Listener) {
	if s.closed {
		ln.Close()
		return
	}
	s.serving.Go(func() { s.http.Serve(ln) })
}

func (s *Server) trackConn(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.stats.connected()
		s.conns.Add(1)
	case http.StateClosed:
		s.conns.Done()
	}
}

// Close ends the server: requests that hang or are being delayed get no answer,
// connections are closed, and every goroutine of the server has ended when it
// returns. Clients' idle connections see the other end close and go, too. Closing
// again does nothing.
func (s *Server) Close() {
	s.family.mu.Lock()
	servers := []*Server{s}
	if s.region == primaryRegion {
		s.family.closed = true
		for _, replica := range s.family.servers {
			servers = append(servers, replica)
		}
	}
	s.family.mu.Unlock()

	for _, server := range servers {
		server.shut()
	}
}

// shut closes this server alone.
func (s *Server) shut() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	s.mu.Unlock()

	s.http.Close() // waits for no request, but done has ended those that wait
	s.serving.Wait()
	s.conns.Wait()
}

// Region is the AWS Region that the server plays: us-east-1, unless it is a [Server.Replica].
func (s *Server) Region() string { return s.region }

// Endpoint is the server's address on the loopback interface, such as
// http://127.0.0.1:40123, for what cannot use [Server.Client]. The first call
// starts listening there; until then the server has no goroutine that waits for
// the network, which would keep a synctest bubble's clock from advancing. Inside
// a bubble, use Client. After Close, connections to it are refused.
//
// It panics if the machine does not let it listen.
func (s *Server) Endpoint() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoint == "" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(fmt.Sprintf("kmstest: Endpoint: %v", err))
		}
		s.endpoint = "http://" + ln.Addr().String()
		s.start(ln)
	}
	return s.endpoint
}

// AddListener has the server answer on ln as well, until Close, which closes ln: on
// one of TLS, say, or on a Unix socket. It returns at once.
func (s *Server) AddListener(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start(ln)
}

// Client makes a client of this server that reaches it through memory. It has
// credentials that are good for nothing, connections of its own, and otherwise
// the SDK's defaults, of which the retries matter most: it makes three attempts, so
// one call may be several requests in the Stats. The options of a call change that.
//
// It may be used inside a testing/synctest bubble if the server was made there.
func (s *Server) Client() *kms.Client {
	return kms.New(kms.Options{
		Region:       s.region,
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDKMSTEST", "kmstest", ""),
		BaseEndpoint: aws.String("http://kms." + s.region + ".test"), // nobody resolves it: see DialContext
	}, func(o *kms.Options) {
		// The SDK's own HTTP client, timeouts and pool sizes included, but for the way
		// it connects. kms.New gives a BuildableClient a dialer of its own, so this
		// comes after that, and leaves a client that another kms.New lets be.
		o.HTTPClient = o.HTTPClient.(*awshttp.BuildableClient).WithTransportOptions(func(t *http.Transport) {
			t.Proxy = nil
			t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.memory.dial(ctx) }
		}).Freeze()
	})
}

// ARN is the key's Amazon Resource Name in this server's Region. It need not
// exist: a test may want the name of a missing key.
func (s *Server) ARN(keyID string) string {
	return s.arn("key/" + keyID)
}

// arn names a resource of this account and Region: "key/…" or "alias/…".
func (s *Server) arn(resource string) string {
	return "arn:aws:kms:" + s.region + ":" + account + ":" + resource
}
