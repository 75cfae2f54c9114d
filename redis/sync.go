package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// pace is how often a replica asks Redis at most, and does while there is
	// something amiss.
	pace = 100 * time.Millisecond
	// soon is in how long it asks when its own breaker has changed.
	soon = 10 * time.Millisecond
	// While all is well it asks after so many results, or so much time.
	fewResults = 20
	quiet      = time.Second
	// grace is for how long a replica waits for news that are due: that the
	// fleet tries again, or how a probe ended. After that it finds out itself.
	grace = 250 * time.Millisecond
	// lease is for how long a replica that says nothing further is the one that
	// probes, and maxLease for how long one may be that has no result.
	lease    = time.Second
	maxLease = 30 * time.Second

	maxResults = 1 << 13 // to be told, of which what is more is not
)

var errBreakerClosed = errors.New("fleet: the Breaker is closed")

// follower is what the syncer knows.
type follower struct {
	settings  gobreaker.Settings // the fleet's
	id        string
	known     record        // the fleet's state
	knows     bool          // that there is one
	nonsense  error         // what was wrong with the last thing that Redis had
	ahead     time.Duration // Redis's clock, of this one
	imposed   *uint64       // the generation that made the local breaker open, or nil
	probing   bool          // for the fleet
	leads     bool          // since the last exchange
	following atomic.Bool   // changes of the local breaker are the fleet's
	asked     time.Time
	lastUse   time.Time
}

// sync keeps the local breaker and the fleet's in step, while there are calls.
// There is one at a time.
func (b *Breaker) sync() {
	for b.rest() && b.wanted() {
		results := b.take()
		b.settle(b.exchange(results))
	}
}

// rest waits until it is time to ask Redis. It returns false when b is closed.
func (b *Breaker) rest() bool {
	wake := b.wake
	if b.Err() != nil {
		wake = nil
	}
	for pause := b.pause(); ; {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			if b.due() {
				return true
			}
		case <-wake:
			timer.Stop()
			pause, wake = soon, nil
		case <-b.redis.running.Done():
			timer.Stop()
			return false
		}
	}
}

func (b *Breaker) pause() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost != nil {
		return max(0, time.Until(b.probe))
	}
	return pace - pace/4 + rand.N(pace/4) // or replicas that began together would be in each other's way for ever
}

// due reports whether there is a reason to ask Redis.
func (b *Breaker) due() bool {
	amiss := b.imposed != nil || b.known.Counts.ConsecutiveFailures > 0 || b.local.State() != gobreaker.StateClosed
	b.mu.Lock()
	defer b.mu.Unlock()
	return amiss || b.lost != nil || b.failed || len(b.results) >= fewResults || time.Since(b.asked) >= quiet
}

// wanted reports whether there are calls, or have been of late. If not, the
// syncer has ended.
func (b *Breaker) wanted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.used.Swap(false) || len(b.results) > 0 || b.awaitsProbe(now) {
		b.lastUse = now
	}
	b.syncing = !b.closed && now.Sub(b.lastUse) <= quiet
	return b.syncing
}

// awaitsProbe reports whether a probe for the fleet may be under way.
func (b *Breaker) awaitsProbe(now time.Time) bool {
	return b.probing && b.local.State() == gobreaker.StateHalfOpen && now.Sub(b.known.Since) < maxLease
}

func (b *Breaker) take() []bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	results := b.results
	b.results, b.failed = nil, false
	return results
}

// putBack keeps for the next time what nobody was told.
func (b *Breaker) putBack(results []bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.results = append(results, b.results...)
	if len(b.results) > maxResults {
		b.results = b.results[:maxResults]
	}
	b.failed = true // so that the next time is soon
}

// settle makes known how an exchange went.
func (b *Breaker) settle(err error) {
	var fallback, recovered bool
	var after time.Duration
	now := time.Now()
	b.mu.Lock()
	b.asked = now
	switch {
	case b.closed:
	case err != nil:
		fallback = b.begin(err, now)
	default:
		after, recovered = b.end(now)
	}
	b.mu.Unlock()
	if err != nil {
		b.probing = false
	}
	if fallback && b.o.OnFallback != nil {
		b.o.OnFallback(err)
	}
	if recovered && b.o.OnRecover != nil {
		b.o.OnRecover(after)
	}
}

// exchange tells the fleet the results, and follows it. An error is that there
// is no fleet: the results are lost, as it is not known whether they were told.
func (b *Breaker) exchange(results []bool) error {
	there, err := b.swap("", "")
	if err != nil {
		return err
	}
	b.ahead = time.Until(there.at)
	for range 3 {
		r, err := b.advance(there.value, results)
		if err != nil {
			return err
		}
		next, err := r.encode(b.ahead)
		if err != nil {
			return fmt.Errorf("fleet: the breaker's state cannot be written: %w", err)
		}
		if next == there.value && b.Err() == nil { // a Redis that was lost must show that it can be written
			b.follow(r)
			return nil
		}
		if there, err = b.swap(there.value, next); err != nil {
			return err
		}
		if there.swapped && b.nonsense != nil {
			return b.nonsense // which is replaced; the next time shows for how long
		}
		if there.swapped {
			b.follow(r)
			return nil
		}
	}
	b.putBack(results) // others were faster, three times
	return nil
}

func (b *Breaker) swap(old, next string) (reading, error) {
	return ask(&b.redis, func(ctx context.Context) (reading, error) { return b.register.swap(ctx, old, next) })
}

// advance returns the fleet's state after data, the one in Redis, and results.
func (b *Breaker) advance(data string, results []bool) (r record, err error) {
	// Gobreaker and ReadyToTrip work on what came over the network.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("fleet: the breaker's state in Redis, under %q, makes a panic: %s", stateKey(b.settings), quote(p))
		}
	}()
	now := time.Now()
	b.leads = false
	if r, err = b.read(data, now); err != nil {
		return r, err
	}
	fleet, err := gobreaker.NewDistributedCircuitBreaker[struct{}](&r, b.settings)
	if err != nil {
		return r, err
	}
	state, err := fleet.State()
	if err != nil {
		return r, err
	}
	if state == gobreaker.StateHalfOpen && !b.lead(&r, now) {
		return r, nil
	}
	if err := r.replay(fleet, results); err != nil {
		return r, err
	}
	if r.State != gobreaker.StateHalfOpen {
		r.Prober, r.Since, r.Until = "", time.Time{}, time.Time{}
	}
	return r, nil
}

// read returns the record in data. Where there is none, it is the last that was
// known, so that a Redis that forgets does not close the fleet's breaker.
// Nonsense is an error once, and then replaced.
func (b *Breaker) read(data string, now time.Time) (record, error) {
	r, err := decode(data, b.ahead)
	if err == nil {
		err = r.check(b.settings, b.buckets(), now)
	}
	again := b.nonsense != nil
	b.nonsense = nil
	if err != nil {
		b.nonsense = fmt.Errorf("fleet: what is in Redis under %q is no breaker's state: %s", stateKey(b.settings), quote(err))
	}
	switch {
	case err != nil && !again:
		return r, b.nonsense
	case err != nil, r.empty:
		if b.knows {
			return b.known, nil
		}
		return record{empty: true}, nil
	}
	return r, nil
}

// buckets returns how many gobreaker has with the fleet's settings.
func (b *Breaker) buckets() int {
	if b.settings.BucketPeriod == 0 || b.settings.Interval == 0 {
		return 1
	}
	return int((b.settings.Interval + b.settings.BucketPeriod - 1) / b.settings.BucketPeriod)
}

// lead reports whether this replica is the one that probes for the fleet. It
// becomes that if nobody is.
func (b *Breaker) lead(r *record, now time.Time) bool {
	until := now.Add(lease)
	switch {
	case r.Prober == "" || !now.Before(r.Until):
		// Places that another took and left are free again.
		b.leads = true
		r.Prober, r.Since, r.Until = b.id, now, until
		r.Counts, r.Buckets = gobreaker.Counts{}, make([]gobreaker.Counts, b.buckets())
		return true
	case r.Prober != b.id:
		return false
	}
	if now.Sub(r.Since) < maxLease {
		r.Until = until
	}
	return true
}

// follow has the local breaker do as the fleet's.
func (b *Breaker) follow(r record) {
	b.following.Store(true)
	defer b.following.Store(false)
	b.known, b.knows = r, true
	state := b.local.State()
	switch r.State {
	case gobreaker.StateClosed:
		if b.imposed != nil && state != gobreaker.StateClosed {
			b.local.Reset()
		}
		b.imposed, b.probing = nil, false
	case gobreaker.StateHalfOpen:
		if r.Prober != b.id {
			b.impose(r, grace)
		} else if b.leads || !b.probing {
			b.impose(r, 0)
			b.probing = true
		}
	case gobreaker.StateOpen:
		if b.imposed == nil || *b.imposed != r.Generation || state != gobreaker.StateOpen {
			b.impose(r, time.Until(r.Expiry.Add(grace)))
		}
	}
	select {
	case <-b.wake: // the change was this
	default:
	}
}

// impose opens the local breaker for d, or has it probe.
func (b *Breaker) impose(r record, d time.Duration) {
	b.imposed, b.probing = &r.Generation, false
	b.local.Open(d, "failures in the fleet")
}
