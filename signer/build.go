package signer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
)

// Build finds the key and puts the stack together around it. Nothing is put
// together later, during a signature.
//
// The look-up is retried while its errors may pass, and ends with ctx, or after
// DefaultTimeout: a hung KMS cannot hang a start-up. Everything that is wrong
// with the Builder's options is reported before it, in one error.
func (b Builder) Build(ctx context.Context) (*Signer, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	key, err := b.findKey(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	replicas := replicasOf(key)
	if len(replicas) > 1 && b.fan == nil {
		return nil, &Error{KeyType: keyType(key.Public()), Reason: fmt.Sprintf("the key has %d replicas, and the stack does not fan out to them; add Failover to the Builder where it should", len(replicas))}
	}
	service := b.assemble(key, replicas)
	return &Signer{stack: &stack{
		resolver:      newResolver(key),
		service:       service,
		below:         []any{service},
		wantsMessages: takesMessages(key),
	}}, nil
}

// check returns what can be known to be wrong before there is a key.
func (b Builder) check() error {
	errs := b.errs
	if b.provider == nil {
		errs = append(errs, &Error{Reason: "the Builder has no key provider; give NewBuilder one, such as awskms.New or signer.Wrap"})
	}
	steps := append(append([]step(nil), b.above...), b.below...)
	for i, s := range steps {
		if s.trips == nil {
			continue
		}
		if err := breaker.Validate(*s.trips, innermostLimit(steps[i:])); err != nil {
			errs = append(errs, &Error{Reason: "Builder.CircuitBreaker", Err: turret.WithClass(err, turret.Permanent)})
		}
	}
	return errors.Join(errs...)
}

// innermostLimit is the timeout of an attempt, or 0 where there is none.
func innermostLimit(steps []step) (limit time.Duration) {
	for _, s := range steps {
		if s.limit > 0 {
			limit = s.limit
		}
	}
	return limit
}

// findKey asks the provider through a small stack of its own.
func (b Builder) findKey(ctx context.Context) (Key, error) {
	find := turret.NewBuilder[struct{}, Key]()
	find = turret.With(find, timeout.Layer, DefaultTimeout)
	find = turret.With(find, retry.Layer, retry.Options{MaxAttempts: 5, Backoff: retry.Backoff{Min: 100 * time.Millisecond}})
	find = turret.With(find, timeout.Layer, DefaultTimeout/5)
	return find.ServiceFunc(func(ctx context.Context, _ struct{}) (Key, error) {
		return b.provider.ProvideKey(ctx)
	}).Call(ctx, struct{}{})
}

func replicasOf(key Key) []Key {
	if r, ok := key.(Replicated); ok {
		return r.Replicas()
	}
	return []Key{key}
}

// assemble makes the stack: the layers above the fan-out, and those below it for
// each replica.
func (b Builder) assemble(key Key, replicas []Key) Service {
	above, below := b.above, b.below
	if b.fan == nil {
		above, below = nil, b.above
	}
	var names []string
	var services []Service
	for i, r := range replicas {
		name := keyName(r, i, len(replicas))
		service := Service(r)
		if !b.skipVerify {
			service = verifyLayer(key.Public())(service)
		}
		service = b.instrumented("key")(service)
		service = b.stack(below, name)(service)
		if len(replicas) > 1 {
			service = named(name)(service)
		}
		names, services = append(names, name), append(services, service)
	}
	service := services[0]
	if b.fan != nil {
		service = b.instrumented(b.fanName)(b.fan(names, services))
	}
	service = b.stack(above, "")(service)
	if !b.noTimeout && !b.beginsWithTimeout() {
		service = timeout.Layer[Request, Response](DefaultTimeout)(service)
	}
	return service
}

// stack makes the layers of steps, each in its instruments.
func (b Builder) stack(steps []step, replica string) Layer {
	var layers []Layer
	for _, s := range steps {
		if s.name != "" {
			layers = append(layers, b.instrumented(s.name))
		}
		layers = append(layers, s.make(replica))
	}
	return turret.Stack(layers...)
}

func (b Builder) instrumented(name string) Layer {
	var layers []Layer
	for _, instrument := range b.instrument {
		layers = append(layers, instrument(name))
	}
	return turret.Stack(layers...)
}

func (b Builder) beginsWithTimeout() bool {
	return len(b.above) > 0 && b.above[0].limit > 0
}

// named gives a replica's stack a line of its own in Describe.
func named(name string) Layer {
	return turret.LayerFunc(name, func(ctx context.Context, req Request, next Service) (Response, error) {
		return next.Call(ctx, req)
	})
}
