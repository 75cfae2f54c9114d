package kmstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Stats is what a server has seen since it was made.
type Stats struct {
	Operations  map[string]Counts // by name, such as "Sign"; requests for what is no operation here are under ""
	Connections int               // accepted so far, in memory and on the loopback
}

// Counts is what became of the requests for one operation. Each request is in
// flight until it ends in exactly one of the outcomes, so that
//
//	Requests = OK + Corrupt + Refused + … + Canceled + InFlight
//
// A request is counted as ended just before its answer is sent: who has an
// answer finds it in the Stats.
type Counts struct {
	Requests    int
	OK          int // answered as asked
	Corrupt     int // answered with a signature that does not verify
	Refused     int // what AWS would refuse too, and Server.Deny
	Throttled   int // ThrottlingException, by Faults.Throttle or Faults.Quota
	Internal    int // KMSInternalException
	Unavailable int // 503, by Faults.Down
	Reset       int // the connection was reset
	Hung        int // left unanswered until the client went away or Close
	Canceled    int // the client went away, or Close came, while the request arrived or its answer was being delayed
	InFlight    int // not ended yet
}

// Op gives the counts of one operation, by name: zeros if there was no such request.
func (s Stats) Op(name string) Counts { return s.Operations[name] }

// Total gives the counts of all operations together.
func (s Stats) Total() Counts {
	var total Counts
	for _, c := range s.Operations {
		for _, field := range countFields {
			*field.of(&total) += *field.of(&c)
		}
	}
	return total
}

// String is a line for each operation, in order of name, and one for the connections.
func (s Stats) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.Operations)) {
		title := name
		if title == "" {
			title = "(unknown)"
		}
		fmt.Fprintf(&b, "%s: %v\n", title, s.Operations[name])
	}
	fmt.Fprintf(&b, "connections: %d", s.Connections)
	return b.String()
}

// String is a line that leaves the zeros out: "9 requests, 7 OK, 2 throttled".
func (c Counts) String() string {
	var parts []string
	for i, field := range countFields {
		if n := *field.of(&c); n != 0 || i == 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, field.name))
		}
	}
	return strings.Join(parts, ", ")
}

var countFields = []struct {
	name string
	of   func(*Counts) *int
}{
	{"requests", func(c *Counts) *int { return &c.Requests }},
	{"OK", outcomeOK},
	{"corrupt", outcomeCorrupt},
	{"refused", outcomeRefused},
	{"throttled", outcomeThrottled},
	{"internal", outcomeInternal},
	{"unavailable", outcomeUnavailable},
	{"reset", outcomeReset},
	{"hung", outcomeHung},
	{"canceled", outcomeCanceled},
	{"in flight", func(c *Counts) *int { return &c.InFlight }},
}

// An outcome is the count that a request ends in.
type outcome func(*Counts) *int

func outcomeOK(c *Counts) *int          { return &c.OK }
func outcomeCorrupt(c *Counts) *int     { return &c.Corrupt }
func outcomeRefused(c *Counts) *int     { return &c.Refused }
func outcomeThrottled(c *Counts) *int   { return &c.Throttled }
func outcomeInternal(c *Counts) *int    { return &c.Internal }
func outcomeUnavailable(c *Counts) *int { return &c.Unavailable }
func outcomeReset(c *Counts) *int       { return &c.Reset }
func outcomeHung(c *Counts) *int        { return &c.Hung }
func outcomeCanceled(c *Counts) *int    { return &c.Canceled }

// Stats is a copy of the counts so far. It does not change later.
func (s *Server) Stats() Stats { return s.stats.snapshot() }

// A recorder keeps the Stats of a server.
type recorder struct {
	mu    sync.Mutex
	ops   map[string]*Counts
	conns int
}

func (r *recorder) connected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns++
}

func (r *recorder) begin(op string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ops == nil {
		r.ops = make(map[string]*Counts)
	}
	c := r.ops[op]
	if c == nil {
		c = new(Counts)
		r.ops[op] = c
	}
	c.Requests++
	c.InFlight++
}

func (r *recorder) end(op string, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.ops[op]
	c.InFlight--
	*o(c)++
}

func (r *recorder) snapshot() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Operations: make(map[string]Counts, len(r.ops)), Connections: r.conns}
	for name, c := range r.ops {
		s.Operations[name] = *c
	}
	return s
}
