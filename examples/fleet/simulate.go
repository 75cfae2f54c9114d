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

	warmUp time.Duration // is not measured: limiters find their rates, queues fill
	length time.Duration // is measured
}

// patience is how long a caller waits for a signature: a TLS client, say.
const patience = 2 * time.Second

// stack is what signer.Defaults recommend, around anything. A nil limiter is left out.
func stack(sign turret.ServiceFunc[struct{}, struct{}], limiter ratelimit.Limiter) turret.Service[struct{}, struct{}] {
	b := turret.NewBuilder[struct{}, struct{}]()
	b = turret.With(b, timeout.Layer, patience)
	b = turret.With(b, retry.Layer, retry.Options{
		MaxAttempts:  100,
		Backoff:      retry.Backoff{Min: 25 * time.Millisecond, Max: time.Second},
		Budget:       retry.NewBudget(0.2, 10),
		WaitRejected: true,
	})
	if limiter != nil {
		b = turret.With(b, ratelimit.Layer, ratelimit.Options{Limiter: limiter})
	}
	b = turret.With(b, breaker.Layer, gobreaker.Settings{Timeout: 400 * time.Millisecond})
	b = turret.With(b, timeout.Layer, patience/4)
	return b.Service(sign)
}

// run runs the scenario in virtual time: the layers' clocks and the callers' are
// the bubble's, which goes on when there is nothing left to do at the moment.
func (s scenario) run(t *testing.T) (r result, err error) {
	synctest.Test(t, func(*testing.T) { r, err = s.simulate() })
	if err != nil {
		err = fmt.Errorf("%s, %d replicas, %s: %w", s.load.name, s.replicas, s.strategy.name, err)
	}
	return r, err
}

func (s scenario) simulate() (result, error) {
	var (
		service = newKMS(1)
		redis   = newSharedRedis()
		replica = make([]*replica, s.replicas)
	)
	for i := range replica {
		limiter := s.strategy.limiter(fleet{s.replicas, redis})
		replica[i] = newReplica(stack(service.sign, limiter), s.load.demand(i, s.replicas), uint64(i))
	}
	ctx, stop := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for _, r := range replica {
		callers.Go(func() { r.serve(ctx) })
	}

	<-time.After(s.warmUp)
	before, asked := service.counts(), redis.asked.Load()
	for _, r := range replica {
		r.reset()
	}
	<-time.After(s.length)
	r := result{scenario: s, kms: service.counts().minus(before), asked: int(redis.asked.Load() - asked)}
	for _, replica := range replica {
		demand, signed := replica.counts()
		r.demand = append(r.demand, demand)
		r.signed = append(r.signed, signed)
	}

	stop()
	callers.Wait()
	return r, redis.close()
}

// replica is one process of the fleet.
type replica struct {
	stack  turret.Service[struct{}, struct{}]
	demand float64 // calls a second
	dice   *rand.Rand

	mu            sync.Mutex
	asked, signed int
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
