package kmstest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Faults is what goes wrong, on purpose. The zero value is a KMS on its best day.
//
// Throttle, Internal, Reset, Hang and Corrupt are probabilities, from 0 to 1, of
// what becomes of a request. One roll of the dice decides, so a request meets one
// of them at most and their sum is at most 1. They hold for every operation, only
// Corrupt does not: what it would have befallen goes well, unless it is a Sign.
type Faults struct {
	// Seed seeds the dice. The same requests, one after another, under the same
	// Faults meet the same fate in the same order; those made concurrently share
	// the same fates, in whatever order they arrive.
	Seed uint64

	// Latency is how long an answer is delayed, whatever the answer is; nil and
	// durations of 0 and less mean not at all. [LogNormal] makes one like a real
	// service's. It is called once a request, never concurrently, and must draw
	// from the Rand that it is given for a run to be repeatable. It must not call
	// the server, which waits for it.
	Latency func(*rand.Rand) time.Duration

	Throttle float64 // ThrottlingException, HTTP 400
	Internal float64 // KMSInternalException, HTTP 500
	Reset    float64 // the connection is reset before a byte of the answer
	Hang     float64 // no answer at all, until the client goes away or Close
	Corrupt  float64 // Sign answers well, but with a signature that does not verify

	// Down is an outage: every request is answered 503 with a page of HTML, as by
	// a load balancer with nothing behind it. It takes precedence over the
	// probabilities.
	Down bool

	// Quota is how many Sign and Verify requests are served a second; 0 and
	// rate.Inf mean any number. As in AWS there are three pools of that size for an
	// account in a Region: one that all RSA keys share, one that all ECC keys
	// share, and one that all ML-DSA keys share. Beyond it the answer is a
	// ThrottlingException. AWS does not publish its burst; here it is a second's
	// worth, and at least one request, so a pool left alone for a second serves
	// Quota requests at once and then one every 1/Quota seconds. Requests that a
	// fault above befalls cost nothing.
	Quota rate.Limit
}

// validate says what is wrong with the faults.
func (f Faults) validate() error {
	var sum float64
	for _, p := range []struct {
		name  string
		value float64
	}{
		{"Throttle", f.Throttle}, {"Internal", f.Internal}, {"Reset", f.Reset}, {"Hang", f.Hang}, {"Corrupt", f.Corrupt},
	} {
		if !(p.value >= 0 && p.value <= 1) { // so put, it holds for NaN
			return fmt.Errorf("the probability %s is %v: want 0 to 1", p.name, p.value)
		}
		sum += p.value
	}
	if sum > 1+1e-9 { // a sum such as .1+.2+.7 may miss 1 by a rounding
		return fmt.Errorf("the probabilities add up to %v: a request meets one fault at most, so 1 is the limit", sum)
	}
	if !(f.Quota >= 0) {
		return fmt.Errorf("the rate Quota is %v: want 0 or more", float64(f.Quota))
	}
	return nil
}

// Inject makes faults happen from now on, in place of those injected before:
// Inject(Faults{}) ends them all. The dice start anew from the seed and the quota
// pools are full. Requests that have arrived already keep the fate they had. It
// says nothing of the server's replicas, which have faults of their own.
//
// It panics if a probability is none, if they add up to more than 1, or if Quota
// is negative or NaN.
func (s *Server) Inject(f Faults) {
	if err := f.validate(); err != nil {
		panic("kmstest: Inject: " + err.Error())
	}
	s.faults.set(f)
}

// LogNormal makes a Latency that is log-normally distributed, as the latencies of
// services nearly are: half of the requests take longer than median, one in a
// hundred takes longer than p99, and there is no longest.
//
// It panics unless 0 < median ≤ p99.
func LogNormal(median, p99 time.Duration) func(*rand.Rand) time.Duration {
	if median <= 0 || p99 < median {
		panic(fmt.Sprintf("kmstest: LogNormal: median %v and p99 %v: want 0 < median ≤ p99", median, p99))
	}
	const z99 = 2.3263478740408408 // the normal distribution's 99th percentile, in standard deviations
	sigma := math.Log(float64(p99)/float64(median)) / z99
	return func(r *rand.Rand) time.Duration {
		d := float64(median) * math.Exp(sigma*r.NormFloat64())
		return time.Duration(min(d, math.MaxInt64/2)) // a conversion that overflows is not portable
	}
}

// A fate is what the faults have in store for one request.
type fate struct {
	fault   *fault // what befalls it; nil if it is served
	delay   time.Duration
	corrupt bool // the signature, should there be one
}

// A fault befalls a request that then is not served.
type fault struct {
	outcome outcome
	answer  func(context.Context, *Server) *reply // a nil reply: none, the connection is reset
}

var (
	faultThrottle = &fault{outcomeThrottled, always(refusal(errThrottled()))}
	faultInternal = &fault{outcomeInternal, always(refusal(errInternal()))}
	faultReset    = &fault{outcomeReset, always(nil)}
	faultHang     = &fault{outcomeHung, func(ctx context.Context, s *Server) *reply {
		select {
		case <-ctx.Done():
		case <-s.done:
		}
		return nil
	}}
	faultDown = &fault{outcomeUnavailable, always(&reply{
		status:      http.StatusServiceUnavailable,
		contentType: "text/html",
		body:        []byte("<html><body><h1>503 Service Unavailable</h1></body></html>\n"),
	})}
)

func always(r *reply) func(context.Context, *Server) *reply {
	return func(context.Context, *Server) *reply { return r }
}

// An injector deals out fates.
type injector struct {
	mu     sync.Mutex
	faults Faults
	dice   *rand.Rand
	pools  map[pool]*rate.Limiter
}

func (i *injector) set(f Faults) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = f
	i.dice = rand.New(rand.NewPCG(f.Seed, 0))
	i.pools = nil
	if f.Quota > 0 && f.Quota < rate.Inf {
		burst := int(min(math.Ceil(float64(f.Quota)), math.MaxInt32))
		i.pools = map[pool]*rate.Limiter{
			poolRSA:   rate.NewLimiter(f.Quota, burst),
			poolECC:   rate.NewLimiter(f.Quota, burst),
			poolMLDSA: rate.NewLimiter(f.Quota, burst),
		}
	}
}

// next decides the fate of a request that has arrived.
func (i *injector) next() fate {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dice == nil { // nothing was injected
		return fate{}
	}
	var f fate
	// The roll comes first and always, so that a change of one probability, or an
	// outage, leaves the rest of a seeded run as it was.
	roll := i.dice.Float64()
	if i.faults.Latency != nil {
		f.delay = i.faults.Latency(i.dice)
	}
	if i.faults.Down {
		f.fault = faultDown
		return f
	}
	befalls := func(p float64) bool {
		hit := roll >= 0 && roll < p
		roll -= p
		return hit
	}
	switch {
	case befalls(i.faults.Throttle):
		f.fault = faultThrottle
	case befalls(i.faults.Internal):
		f.fault = faultInternal
	case befalls(i.faults.Reset):
		f.fault = faultReset
	case befalls(i.faults.Hang):
		f.fault = faultHang
	case befalls(i.faults.Corrupt):
		f.corrupt = true
	}
	return f
}

// admit takes a request from a quota pool, or reports that the pool is empty.
func (i *injector) admit(p pool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	limiter := i.pools[p]
	return limiter == nil || limiter.Allow()
}

// A pool is the keys that share a quota.
type pool int

const (
	poolNone pool = iota
	poolRSA
	poolECC
	poolMLDSA
)
