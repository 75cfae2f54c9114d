package fleet

import (
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"github.com/turretgo/turret/middleware/ratelimit"
)

const (
	// interval is how much use a batch is fetched for, and how long a replica
	// leaves the others alone that it competes with.
	interval = 50 * time.Millisecond
	// lifetime is how long a fetched token may be used: longer than the
	// interval, so that few are wasted, and short, as what one replica holds
	// is missing elsewhere.
	lifetime = 2 * interval
	// roundTrip is how soon an answer of Redis is expected, which is only to
	// be of the right order.
	roundTrip = time.Millisecond
	// settling is how much of the local share, beyond its burst, is given back
	// after an outage. More than in a short one would be lost to the fleet: what
	// nobody has used does not gather in Redis.
	settling = 200 * time.Millisecond
	// brief is how long an outage is at the most of which anything is given back.
	// In a longer one Redis is gone for all, and each keeps to its share.
	brief = time.Second
)

// tokens is what a replica holds of the quota: the ratelimit.Source of its
// queue, with whose lock held all of it is used.
type tokens struct {
	rate     float64
	burst    int
	interval time.Duration
	batches  []batch          // oldest first
	share    ratelimit.Source // of the quota, for use without Redis
	start    func()           // starts the fetcher

	// What was used of the share is given back of what Redis grants next. Else a
	// Redis that is late now and then would give the others all of the quota, and
	// this replica its share on top.
	owed, mostOwed int

	fetching bool // there is a fetcher
	closed   bool

	// What to ask for.
	missed bool    // a caller has found no token since Redis was last asked
	used   int     // tokens, since asked
	usual  float64 // tokens used in an interval, by the last reckoning
	asked  time.Time

	// What the others leave.
	scarce  bool      // the last answer was less than was asked for
	askAt   time.Time // not before
	supply  float64   // tokens a second that this replica gets while they are scarce
	settled time.Time // when supply was last reckoned

	outage
}

type batch struct {
	n     int
	until time.Time
}

func newTokens(o LimiterOptions) *tokens {
	full := min(float64(o.Burst)/float64(o.Rate), 1) // seconds
	share, shareBurst := o.share()
	return &tokens{
		rate:  float64(o.Rate),
		burst: o.Burst,
		// Half the time in which the bucket in Redis fills, as tokens that
		// come to a full one are lost; but Redis is not to be hammered.
		interval: max(min(interval, time.Duration(full/2*float64(time.Second))), roundTrip),
		share:    ratelimit.Bucket(rate.NewLimiter(share, shareBurst)),
		mostOwed: shareBurst + int(float64(share)*settling.Seconds()),
		supply:   float64(o.Rate),
	}
}

// Take takes a token, and has more fetched in time.
func (t *tokens) Take(now time.Time) bool {
	ok := t.takeFetched(now)
	switch {
	case ok:
		t.used++
	case t.lost != nil:
		if ok = t.share.Take(now); ok {
			t.owed = min(t.owed+1, t.mostOwed)
		}
	default:
		t.missed = true
	}
	if t.worthAsking(0, now) {
		t.fetch()
	}
	return ok
}

// fetch has the fetcher run, which ends when it finds nothing worth asking for.
func (t *tokens) fetch() {
	if !t.fetching && !t.closed {
		t.fetching = true
		t.start()
	}
}

func (t *tokens) takeFetched(now time.Time) bool {
	if t.held(now) == 0 {
		return false
	}
	t.batches[0].n--
	return true
}

// held returns how many tokens are at hand.
func (t *tokens) held(now time.Time) (n int) {
	for len(t.batches) > 0 && (t.batches[0].n == 0 || !now.Before(t.batches[0].until)) {
		t.batches = t.batches[1:]
	}
	for _, b := range t.batches {
		n += b.n
	}
	return n
}

// In is exact for tokens at hand and for the local share. Else it reckons with
// the soonest answer of Redis, and from then on with what this replica has been
// getting. The head of the queue asks it before it waits.
func (t *tokens) In(n int, now time.Time) time.Duration {
	n -= t.held(now)
	if n <= 0 {
		return 0
	}
	t.fetch()
	switch {
	case t.lost != nil:
		return t.share.In(n, now)
	case t.scarce:
		n--
	default: // a whole burst may be there
		n = max(n-t.burst, 0)
	}
	wait := max(t.askAt.Sub(now), 0) + roundTrip
	return wait + time.Duration(float64(n)/t.supply*float64(time.Second))
}

// worthAsking says whether Redis is to be asked, soon if not now.
func (t *tokens) worthAsking(waiting int, now time.Time) bool {
	if t.lost != nil {
		return waiting > 0 || !now.Before(t.probe)
	}
	held := t.held(now)
	ahead := t.ahead()
	return waiting > held || held == 0 && t.missed || ahead > 0 && 4*held <= ahead
}

// ahead returns how many tokens to hold beyond those that callers wait for.
func (t *tokens) ahead() int {
	if t.scarce {
		return 0 // others wait for them
	}
	return min(int(t.usual), t.most())
}

// next returns how many tokens to ask for, and in how long.
func (t *tokens) next(waiting int, now time.Time) (n int, wait time.Duration) {
	if t.lost != nil {
		return 1, max(t.probe.Sub(now), 0)
	}
	if wait := t.askAt.Sub(now); wait > 0 {
		return 0, wait
	}
	t.reckonUse(now)
	if t.missed {
		waiting = max(waiting, 1)
	}
	held := t.held(now)
	n = min(waiting+t.ahead(), t.most()) - held
	return min(max(n, 1)+t.owed, t.burst), 0
}

// most returns how many tokens may be held: what comes in a lifetime.
func (t *tokens) most() int {
	return max(1, min(t.burst, int(t.rate*2*t.interval.Seconds())))
}

func (t *tokens) reckonUse(now time.Time) {
	elapsed := max(now.Sub(t.asked), time.Nanosecond)
	usual := float64(t.used) * float64(t.interval) / float64(elapsed)
	t.usual = min(usual, 2*t.usual+1) // two calls at once are not a trend
	t.used, t.asked = 0, now
}

// grant adds n tokens of the wanted, where the next is due in retry. Later says
// that this is less than was hoped for.
func (t *tokens) grant(wanted, n int, retry time.Duration, now time.Time) (later bool) {
	t.missed = false
	repaid := min(n, t.owed)
	t.owed -= repaid
	if n > repaid {
		t.batches = append(t.batches, batch{n - repaid, now.Add(lifetime)})
	}
	if n == wanted {
		t.scarce, t.askAt, t.supply = false, time.Time{}, t.rate
		return false
	}
	t.reckonSupply(n, now)
	t.askAt = now.Add(t.turn(retry))
	return true
}

// reckonSupply smooths over some thirty answers, two seconds: each is down to luck.
func (t *tokens) reckonSupply(n int, now time.Time) {
	if elapsed := now.Sub(t.settled).Seconds(); t.scarce && elapsed > 0 {
		t.supply += (float64(n)/elapsed - t.supply) / 30
		t.supply = min(max(t.supply, t.rate/1000), t.rate)
	}
	t.scarce, t.settled = true, now
}

// turn returns in how long to ask again for scarce tokens, of which the next is
// due in retry. It is random, as of two replicas that ask in step the first
// would get all.
func (t *tokens) turn(retry time.Duration) time.Duration {
	apart := t.interval + rand.N(t.interval/2)
	each := time.Duration(float64(time.Second) / t.rate)
	return max(apart, retry+rand.N(each/20+1)+1)
}

// lose has the local share used, for the reason err, and reports whether that
// is new. It sets when to ask Redis again.
func (t *tokens) lose(err error, now time.Time) (fresh bool) {
	t.missed = false
	return t.begin(err, now)
}

// find goes back to Redis, and reports whether and for how long it was lost.
func (t *tokens) find(now time.Time) (after time.Duration, was bool) {
	if after, was = t.end(now); was {
		t.asked, t.used, t.usual = now, 0, 0
		if after > brief {
			t.owed = 0
		}
	}
	return after, was
}
