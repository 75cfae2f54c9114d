package fleet

import (
	"math/rand/v2"
	"time"
)

// maxProbe bounds how long some replicas may be back at Redis, where they find
// the whole quota, while others still use their share.
const minProbe, maxProbe = 100 * time.Millisecond, time.Second

// outage is a time without Redis.
type outage struct {
	lost   error // why, or nil
	since  time.Time
	probe  time.Time // when to ask Redis again
	probes int
}

// begin begins an outage, or goes on with it, and reports whether it is new. It
// sets when to ask Redis again.
func (o *outage) begin(err error, now time.Time) (fresh bool) {
	fresh = o.lost == nil
	if fresh {
		o.since, o.probes = now, 0
	}
	backoff := min(minProbe<<min(o.probes, 10), maxProbe)
	o.lost, o.probes = err, o.probes+1
	o.probe = now.Add(backoff/2 + rand.N(backoff/2))
	return fresh
}

// end reports whether there was an outage, and for how long.
func (o *outage) end(now time.Time) (after time.Duration, was bool) {
	if o.lost == nil {
		return 0, false
	}
	o.lost = nil
	return now.Sub(o.since), true
}
