package kmstest

import (
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"
)

// A family is a Server and its Replicas: one account, in several Regions.
type family struct {
	mu      sync.Mutex
	servers map[string]*Server // by Region
	shared  []*material        // keys that every Region has: those made by Server.CreateKey
	closed  bool               // the primary was closed; Replicas made from now on are born closed
}

// Replica is the same account in another Region. Every key that
// [Server.CreateKey] makes, in whatever Region and before or after, is there too
// with the same id and the same material; a key made over the wire comes there
// through ReplicateKey. Aliases, key states, denials, faults, quota and Stats are
// each Region's own.
//
// Asked twice for the same Region, it gives the same server; asked for the
// server's own, the server itself. Closing the server that NewServer made closes
// its replicas, too. Replica panics if region does not look like a Region's name.
func (s *Server) Replica(region string) *Server {
	if !regionName.MatchString(region) {
		panic(fmt.Sprintf("kmstest: Replica: %q is not the name of a Region, such as eu-west-1", region))
	}
	s.family.mu.Lock()
	defer s.family.mu.Unlock()
	return s.family.server(region)
}

var regionName = regexp.MustCompile(`^([a-z]+-){2,3}[0-9]+$`)

// server finds or starts the server of a Region. The caller holds f.mu, or is the
// only one that has f.
func (f *family) server(region string) *Server {
	if s, ok := f.servers[region]; ok {
		return s
	}
	s := &Server{
		region:  region,
		family:  f,
		memory:  newMemListener(),
		keys:    make(map[string]*key),
		aliases: make(map[string]string),
		done:    make(chan struct{}),
	}
	s.http = &http.Server{
		Handler:     http.HandlerFunc(s.serve),
		ConnContext: withConn,
		ConnState:   s.trackConn,
	}
	for _, m := range f.shared {
		s.addKey(m, time.Time{})
	}
	f.servers[region] = s
	if f.closed {
		s.shut()
	}
	s.start(s.memory)
	return s
}

// ReplicationTime is how long a key that ReplicateKey made stays in state
// Creating, in which all but DescribeKey is refused with a
// KMSInvalidStateException. In AWS it varies.
const ReplicationTime = 2 * time.Second

type replicateKeyInput struct {
	keyRequest
	ReplicaRegion string
	Description   string
}

type replicateKeyOutput struct{ ReplicaKeyMetadata keyMetadata }

func (s *Server) replicateKey(in replicateKeyInput) (*replicateKeyOutput, error) {
	if !regionName.MatchString(in.ReplicaRegion) || len(in.ReplicaRegion) > 32 {
		var c constraints
		c.fail("'"+in.ReplicaRegion+"' ", "replicaRegion", "Member must satisfy regular expression pattern: "+regionName.String())
		return nil, c.err()
	}
	return withKey(s, "ReplicateKey", in.KeyID, func(k *key) (*replicateKeyOutput, error) {
		now := time.Now()
		if err := k.usable(now); err != nil {
			return nil, err
		}
		if !k.multiRegion || k.primary != s.region {
			return nil, errUnsupported("%s is not a multi-Region primary key.", k.arn)
		}
		replica := s.family.server(in.ReplicaRegion)
		if there := replica.existing(k.id); there != nil {
			return nil, refuse("AlreadyExistsException", "%s already exists.", there.arn)
		}
		copied := replica.addKey(k.material, now.Add(ReplicationTime))
		copied.description = in.Description
		return &replicateKeyOutput{replica.metadata(copied)}, nil
	})
}
