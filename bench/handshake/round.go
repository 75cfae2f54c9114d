package handshake

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/turretgo/turret/bench/usage"
	"github.com/turretgo/turret/signer/kmstest"
)

// A Load is a round to come.
type Load struct {
	Clients int
	Warm    time.Duration // before anything is measured
	For     time.Duration
}

// A Round is what was measured.
type Round struct {
	Done, Failed int
	FirstFailure string        `json:",omitempty"`
	Rate         float64       // handshakes a second
	P50, P99     time.Duration // of a handshake
	CPU          time.Duration // of the process with server and clients, a handshake
	Signatures   int           // that KMS was asked for
	Dials        int           // connections to KMS that were opened meanwhile
}

// Do has clients perform handshakes, one after another each. Stats are KMS's.
func (s *Server) Do(ctx context.Context, l Load, stats func() (kmstest.Stats, error)) (Round, error) {
	clients := make([]client, l.Clients)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var under sync.WaitGroup
	begin := time.Now().Add(l.Warm)
	end := begin.Add(l.For)
	for i := range clients {
		under.Go(func() { clients[i].run(ctx, s, begin, end) })
	}
	time.Sleep(time.Until(begin))
	before, err := stats()
	if err != nil {
		return Round{}, err
	}
	used := usage.Read()
	time.Sleep(time.Until(end))
	spent := used.Since()
	after, err := stats()
	if err != nil {
		return Round{}, err
	}
	under.Wait()
	r := sum(clients, l.For)
	r.CPU = spent.CPU / time.Duration(max(1, r.Done))
	r.Signatures = after.Op("Sign").Requests - before.Op("Sign").Requests
	r.Dials = after.Connections - before.Connections
	return r, nil
}

// client is one client's record.
type client struct {
	took   []time.Duration
	failed int
	err    error
}

// run performs handshakes until end, and records those that end after begin.
func (c *client) run(ctx context.Context, s *Server, begin, end time.Time) {
	config := s.clientConfig()
	for ctx.Err() == nil {
		start := time.Now()
		if start.After(end) {
			return
		}
		err := s.handshake(ctx, config)
		switch done := time.Now(); {
		case done.Before(begin) || done.After(end):
		case err != nil:
			c.failed++
			c.err = err
		default:
			c.took = append(c.took, done.Sub(start))
		}
	}
}

func sum(clients []client, d time.Duration) Round {
	var r Round
	var took []time.Duration
	for _, c := range clients {
		took = append(took, c.took...)
		r.Failed += c.failed
		if c.err != nil {
			r.FirstFailure = c.err.Error()
		}
	}
	slices.Sort(took)
	r.Done = len(took)
	r.Rate = float64(r.Done) / d.Seconds()
	if r.Done > 0 {
		r.P50, r.P99 = took[r.Done/2], took[r.Done*99/100]
	}
	return r
}
