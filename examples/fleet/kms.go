package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer/kmstest"
)

// quota is how many signatures a second the KMS serves: an AWS account's, for
// one family of keys in a Region.
const quota = 1000

var errThrottled = turret.WithClass(errors.New("ThrottlingException: the quota is used up"), turret.Throttled)

// kms stands in for the one KMS that the whole fleet calls. It signs nothing, so
// that it costs no CPU, and does to its callers what kmstest.Server would: it
// takes its time, and past its quota it throttles.
type kms struct {
	mu      sync.Mutex
	dice    *rand.Rand
	latency func(*rand.Rand) time.Duration
	bucket  *rate.Limiter
	calls   calls
}

// calls counts what the KMS was asked, by what became of it.
type calls struct{ served, throttled int }

func newKMS(seed uint64) *kms {
	return &kms{
		dice:    rand.New(rand.NewPCG(seed, 0)),
		latency: kmstest.LogNormal(15*time.Millisecond, 60*time.Millisecond),
		bucket:  rate.NewLimiter(quota, quota), // a second's worth at once, as kmstest's
	}
}

func (k *kms) sign(ctx context.Context, _ struct{}) (_ struct{}, err error) {
	latency, served := k.admit()
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		return struct{}{}, ctx.Err()
	}
	if !served {
		return struct{}{}, errThrottled
	}
	return struct{}{}, nil
}

func (k *kms) admit() (latency time.Duration, served bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if served = k.bucket.Allow(); served {
		k.calls.served++
	} else {
		k.calls.throttled++
	}
	return k.latency(k.dice), served
}

func (k *kms) counts() calls {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls
}

func (c calls) minus(earlier calls) calls {
	return calls{c.served - earlier.served, c.throttled - earlier.throttled}
}
