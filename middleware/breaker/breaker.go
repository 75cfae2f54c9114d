// Package breaker is the circuit breaker layer: it stops calling a service that
// keeps failing, and tries it again after a while with a few calls.
//
// A service in trouble is helped by silence, and its callers by an answer at
// once instead of one more timeout. The breaker starts closed and counts how
// calls end. When too many failed it opens, and refuses calls with [OpenError]
// without making them. After Settings.Timeout it is half-open: Settings.MaxRequests
// calls go through as probes. If all of them succeed it closes; if one fails it
// opens again. The idea is Michael Nygard's ("Release It!"), and
// [github.com/sony/gobreaker/v2] counts.
//
// # Settings
//
// Settings are gobreaker's. Their zero value works: more than 5 consecutive
// failures open the breaker, for 60 seconds, and one probe decides. A
// ReadyToTrip that looks at totals or at a ratio needs an Interval, for without
// one nothing is forgotten while the breaker is closed. It is called under
// gobreaker's lock, so it must not call through the breaker, or ask its Counts
// or what [turret.Inspect] shows of it.
//
// OnStateChange is called by the calls that change the state, one change at a
// time and in order, and may ask the breaker anything or call through it. What
// changes meanwhile is told afterwards and holds up no other call. Observers of
// the call that tells a change ([turret.WithObserver]) hear of it next.
//
// IsSuccessful and IsExcluded are refused by [Validate]: errors say once, for
// all layers, what they mean.
//
// # What counts
//
// An error counts by its [turret.Outcome]:
//
//	failure   Unknown, Transient
//	success   Permanent (the service is well, the request was wrong)
//	neither   Throttled, Canceled, Rejected
//
// So a caller's own deadline or cancel does not count, and a timeout layer's
// expiry below does. A panic and a runtime.Goexit below count as failures, and
// go on as they were. What was admitted before the breaker opened counts no
// more when it ends.
//
// # Where in the stack
//
// Below the retry and the rate limiter, above each attempt's timeout. That
// timeout is needed: a probe that never returns keeps its place, and the breaker
// half-open, for ever; one of a breaker that is impatient loses it ([NewImpatient]).
// An Interval must be longer than the timeout, or calls that hang outlive the
// period in which they count, and the breaker stays closed through any outage;
// [Validate] knows.
package breaker

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
)

// Layer returns a circuit breaker layer. It makes a fresh breaker each time it
// wraps a service; see [Share] for one breaker in several stacks. Layer panics
// with [Validate]'s error if s is misconfigured.
func Layer[Req, Resp any](s gobreaker.Settings) turret.Layer[Req, Resp] {
	mustBeValid(s)
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return newService(New(s), next)
	}
}

// Share returns a layer on a breaker that the caller made with [New]. All
// services it wraps, in stacks of whatever types, fail and recover as one: fit
// for several operations on one endpoint.
func Share[Req, Resp any](b *Breaker) turret.Layer[Req, Resp] {
	if b == nil || b.engine.Load() == nil {
		panic("breaker: Share of a Breaker that is nil or zero; make one with breaker.New")
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return newService(b, next)
	}
}

// Breaker is a circuit breaker that services can share. It is safe for
// concurrent use, and made by [New].
type Breaker struct {
	settings   gobreaker.Settings
	name       string
	openPeriod time.Duration
	probes     uint32
	counted    func(ok bool) // or nil
	patience   time.Duration // with probes; 0 has no end

	engine  atomic.Pointer[engine]
	changes changes
}

// New returns a closed breaker. It panics with [Validate]'s error if s is
// misconfigured.
func New(s gobreaker.Settings) *Breaker { return newBreaker(s) }

func newBreaker(s gobreaker.Settings) *Breaker {
	mustBeValid(s)
	b := &Breaker{
		settings:   s,
		name:       s.Name,
		openPeriod: cmp.Or(s.Timeout, 60*time.Second),
		probes:     cmp.Or(s.MaxRequests, 1),
		changes:    changes{name: s.Name, notify: s.OnStateChange},
	}
	b.install(b.closed())
	return b
}

// Name returns Settings.Name.
func (b *Breaker) Name() string { return b.name }

// State returns the state that a call made now would find: an open breaker whose
// time is over is half-open. Asking changes nothing, so OnStateChange hears of
// half-open from the first call that finds it. State may be called from
// anywhere, also from OnStateChange and ReadyToTrip.
func (b *Breaker) State() gobreaker.State {
	state, _ := b.now()
	return state
}

// Counts returns what was counted in the present state and Interval.
func (b *Breaker) Counts() gobreaker.Counts { return b.engine.Load().Counts() }

// String says the breaker's name and how long it opens for.
func (b *Breaker) String() string {
	return fmt.Sprintf("%s (opens for %v)", title(b.name), b.openPeriod)
}

// ready returns nil if a call made now would be admitted, else its refusal.
func (b *Breaker) ready() error {
	p := b.phase()
	switch {
	case p == nil:
		return nil
	case p.isOpen():
		return b.refusal(gobreaker.StateOpen)
	case p.state == gobreaker.StateHalfOpen && b.probing() && b.phase() == p:
		return b.refusal(gobreaker.StateHalfOpen)
	}
	return nil
}

// probing reports whether a half-open breaker has no place for a further probe.
func (b *Breaker) probing() bool {
	c := b.Counts()
	return c.Requests-c.TotalExclusions >= b.probes
}

// title is how texts about a breaker begin.
func title(name string) string {
	if name == "" {
		return "breaker"
	}
	return "breaker " + name
}
