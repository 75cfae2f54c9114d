package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// scenario is one run of a fleet.
type scenario struct {
	load     load
	replicas int
	strategy strategy

	warmUp time.Duration // before anything is counted: limiters find their rates, queues fill
	length time.Duration // of what is counted
}

// patience is how long a caller waits for a signature: a TLS client, say.
const patience = 2 * time.Second

// stack has the layers and the figures of signer.Defaults with a Timeout of
// patience, around any service. A nil limiter is left out.
func stack(sign turret.ServiceFunc[struct{}, struct{}], limiter ratelimit.Limiter) turret.Service[struct{}, struct{}] {
	b := turret.NewBuilder[struct{}, struct{}]()
	b = turret.With(b, timeout.Layer, patience)
	b = turret.With(b, retry.Layer, retry.Options{
		MaxAttempts:  100,
		Backoff:      retry.Backoff{Min: 25 * time.Millisecond, Max: time.Second, Throttled: 25 * time.Millisecond},
		Budget:       retry.NewBudget(0.2, 10),
		WaitRejected: true,
	})
	if limiter != nil {
		b = turret.With(b, ratelimit.Layer, ratelimit.Options{Limiter: limiter, MaxWait: patience / 4})
	}
	b = turret.With(b, breaker.Layer, gobreaker.Settings{Timeout: 170 * time.Millisecond})
	b = turret.With(b, timeout.LearningLayer, timeout.Learning{Min: 250 * time.Millisecond, Max: patience / 4})
	return b.Service(sign)
}

// run runs the scenario in virtual time: all clocks are the bubble's, which goes
// on to the next event when nothing is left to do at the moment. So computing
// takes no time, however slow the machine.
func (s scenario) run(t *testing.T) (r result, err error) {
	synctest.Test(t, func(*testing.T) { r, err = s.simulate() })
	if err != nil {
		err = fmt.Errorf("%s, %d replicas, %s: %w", s.load.name, s.replicas, s.strategy.name, err)
	}
	return r, err
}

func (s scenario) simulate() (result, error) {
	kms, redis := newKMS(1), newSharedRedis()
	var replicas []*replica
	for i := range s.replicas {
		limiter := s.strategy.limiter(fleet{s.replicas, redis})
		replicas = append(replicas, newReplica(stack(kms.sign, limiter), s.load.demand(i, s.replicas), uint64(i)))
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	for _, r := range replicas {
		serving.Go(func() { r.serve(ctx) })
	}

	<-time.After(s.warmUp)
	calls, asked := kms.counts(), redis.asked.Load()
	for _, r := range replicas {
		r.reset()
	}
	<-time.After(s.length)
	result := result{scenario: s, kms: kms.counts().minus(calls), redisCalls: int(redis.asked.Load() - asked)}
	for _, r := range replicas {
		demand, signed := r.counts()
		result.demand = append(result.demand, demand)
		result.signed = append(result.signed, signed)
	}

	stop()
	serving.Wait()
	return result, redis.close()
}

// replica is one process of the fleet.
type replica struct {
	stack  turret.Service[struct{}, struct{}]
	demand float64 // calls a second
	dice   *rand.Rand

	mu            sync.Mutex
	asked, signed int // of it, and by it
}

func newReplica(stack turret.Service[struct{}, struct{}], demand float64, seed uint64) *replica {
	return &replica{stack: stack, demand: demand, dice: rand.New(rand.NewPCG(seed, 1))}
}

// serve has callers come at random, one independently of the other, until ctx
// ends; then they give up.
func (r *replica) serve(ctx context.Context) {
	var callers sync.WaitGroup
	defer callers.Wait()
	for {
		next := time.Duration(r.dice.ExpFloat64() / r.demand * float64(time.Second))
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
		callers.Go(func() { r.call(ctx) })
	}
}

func (r *replica) call(ctx context.Context) {
	r.count(&r.asked)
	if _, err := r.stack.Call(ctx, struct{}{}); err == nil {
		r.count(&r.signed)
	}
}

func (r *replica) count(n *int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

func (r *replica) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.signed = 0, 0
}

func (r *replica) counts() (asked, signed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked, r.signed
}
