package soak

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/recovery"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// A design is a stack to soak: signer.Defaults, in one Region or in two.
type design struct {
	name      string
	regions   int
	hedged    bool
	recovered bool // panics are, at the bottom; otherwise they reach the caller
}

var designs = []design{
	{name: "one Region", regions: 1},
	{name: "one Region, hedged, Recover", regions: 1, hedged: true, recovered: true},
	{name: "two Regions, Recover", regions: 2, recovered: true},
	{name: "two Regions, hedged", regions: 2, hedged: true},
}

// A stack is a design that was built, with a KMS of its own.
type stack struct {
	design
	signer  *signer.Signer
	regions []*region
	mishaps mishaps

	mu    sync.Mutex
	calls Calls
}

// A region is the KMS in one Region, and what is counted on the way to it.
type region struct {
	server   *kmstest.Server
	client   *kms.Client
	begun    atomic.Int64 // requests that began to be written
	answered atomic.Int64 // and those that got an answer, or its beginning
	probe    probe
}

// open builds a design. Tamper, if there is one, goes on top of the stack.
func open(ctx context.Context, d design, tamper signer.Layer) (*stack, error) {
	s := &stack{design: d}
	home := kmstest.NewServer()
	id := home.CreateKey(types.KeySpecEccNistP256)
	s.add(home)
	if d.regions > 1 {
		s.add(home.Replica("eu-west-1"))
	}
	var clients []awskms.API
	for _, r := range s.regions {
		clients = append(clients, r.client)
	}
	b := signer.NewBuilder(awskms.MultiRegion(id, clients...)).Use(s.entrance(), tamper)
	if d.hedged {
		b = b.Hedge(hedge.Options{})
	}
	b = b.Defaults(signer.Defaults{})
	if d.recovered {
		b = b.Recover(recovery.Options{OnPanic: func(context.Context, *recovery.Error) { s.mishaps.recovered.Add(1) }})
	}
	b = b.Use(s.mishaps.layer()).UseEach(s.probeOf)
	var err error
	if s.signer, err = b.Build(ctx); err != nil {
		home.Close()
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	return s, nil
}

// add adds a Region, and a client whose requests are counted.
func (s *stack) add(server *kmstest.Server) {
	r := &region{server: server}
	r.client = kms.New(server.Client().Options(), func(o *kms.Options) { o.HTTPClient = &countingClient{o.HTTPClient, r} })
	s.regions = append(s.regions, r)
}

// probeOf returns the probe of a replica, by the name that awskms gives it.
func (s *stack) probeOf(replica string) signer.Layer {
	for _, r := range s.regions {
		if replica == r.name() {
			return r.probe.layer()
		}
	}
	return s.regions[0].probe.layer() // a key in one place may have no name
}

func (r *region) name() string { return "kms/" + r.server.Region() }

// quiet reports whether nothing is under way.
func (s *stack) quiet() bool {
	for _, r := range s.regions {
		if r.probe.inFlight.Load() > 0 || r.server.Stats().Total().InFlight > 0 {
			return false
		}
	}
	return s.signer.Stats().InFlight == 0
}

// A countingClient counts the requests that go out. What was answered the KMS has
// had. Of one that was cancelled around the time when it was written it has had all,
// the headers, or nothing: net/http tells of a request's end before it flushes it.
type countingClient struct {
	next   kms.HTTPClient
	region *region
}

func (c *countingClient) Do(req *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{
		WroteHeaders:         func() { c.region.begun.Add(1) },
		GotFirstResponseByte: func() { c.region.answered.Add(1) },
	}
	return c.next.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
}
