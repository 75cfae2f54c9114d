package ratelimit

import "time"

// news tells throttling that goes on from that which happens.
//
// It is a cumulative sum (Page, "Continuous Inspection Schemes", 1954): each
// throttled call adds one, and each granted one takes off what makes the sum stay
// where it is at the tolerated share. Below that share the sum keeps falling to
// nothing. Above it it grows, and when it is high, the moment at which it last was
// nothing is when the throttling began.
type news struct {
	excess float64   // throttled calls beyond the tolerated share
	since  time.Time // when it was 0
	count  int       // calls granted since
	last   time.Time // when a call was throttled
}

// evidence is an excess that is hardly chance.
const evidence = 12

func (n *news) granted(tolerance float64) {
	n.count++
	n.excess = max(0, n.excess-tolerance/(1-tolerance))
}

// throttled reports whether there was enough of it, for a time that is no less
// than least, and how many calls a second were granted meanwhile.
func (n *news) throttled(now time.Time, least time.Duration) (granted float64, enough bool) {
	if n.excess == 0 {
		n.since, n.count = now, 0
	}
	n.excess++
	took := now.Sub(n.since)
	if n.excess < evidence || took < max(least, 1) { // in no time there is no rate
		return 0, false
	}
	n.excess = 0
	return float64(n.count) / took.Seconds(), true
}

// pace is how many times Increase the rate may rise by in a second: once, until no
// call was throttled for ten seconds, and then up to ten times.
func (n *news) pace(now time.Time) float64 {
	quiet := now.Sub(n.last).Seconds()
	return min(max(1, quiet-10), 10)
}
