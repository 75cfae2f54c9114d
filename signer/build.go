package signer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/stats"
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
	if ctx == nil {
		ctx = context.Background()
	}
	key, err := b.findKey(ctx)
	if err != nil {
		return nil, err
	}
	replicas, err := b.replicasOf(key)
	if err != nil {
		if !isNil(key) {
			err = errors.Join(err, turret.Close(key))
		}
		return nil, err
	}
	service, calls := b.assemble(key, replicas), stats.NewRecorder()
	return &Signer{stack: &stack{
		resolver:      newResolver(key),
		service:       stats.Layer[Request, Response](stats.Options{Recorder: calls})(service),
		calls:         calls,
		below:         []any{turret.Owned(service)},
		wantsMessages: takesMessages(key),
	}}, nil
}

// check returns what can be known to be wrong before there is a key.
func (b Builder) check() error {
	errs := slices.Clone(b.errs)
	if isNil(b.provider) {
		errs = append(errs, &Error{Reason: "the Builder has no key provider; give NewBuilder one, such as awskms.New or signer.Wrap"})
	}
	steps := slices.Concat(b.above, b.below)
	for i, s := range steps {
		if s.trips == nil {
			continue
		}
		if err := breaker.Validate(*s.trips, innermostLimit(steps[i:])); err != nil {
			errs = append(errs, &Error{Reason: "Builder.CircuitBreaker", Err: turret.WithClass(err, turret.Permanent)})
		}
	}
	errs = append(errs, b.checkLimits(steps)...)
	if len(errs) > 1 {
		return &Error{Reason: "several things are wrong with the Builder", Err: errors.Join(errs...)}
	}
	return errors.Join(errs...)
}

// checkLimits returns an error for each timeout that would never speak, because
// one above it runs out first: a hang would look to the layers between the two
// like the caller's going away, which nobody retries, counts or fails over.
func (b Builder) checkLimits(steps []step) (errs []error) {
	var above time.Duration
	if b.needsTimeout() {
		above = DefaultTimeout
	}
	for _, s := range steps {
		if above > 0 && s.limit >= above {
			errs = append(errs, &Error{Reason: fmt.Sprintf("Builder.Timeout: %v below one of %v never runs out; the timeout of an attempt must be shorter than that of the whole call, which is %v where a stack does not begin with one", s.limit, above, DefaultTimeout)})
		}
		if s.limit > 0 && (above == 0 || s.limit < above) {
			above = s.limit
		}
	}
	return errs
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
	key, err := find.ServiceFunc(func(ctx context.Context, _ struct{}) (Key, error) {
		return b.provider.ProvideKey(ctx)
	}).Call(ctx, struct{}{})
	if err != nil {
		if _, ok := err.(*Error); !ok { // as that of a provider which was asked once
			err = &Error{Reason: "the key could not be looked up", Err: err}
		}
		return nil, err
	}
	return key, nil
}

// replicasOf returns the keys that the stack is made for, after a look at them.
func (b Builder) replicasOf(key Key) ([]Key, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	r, ok := key.(Replicated)
	if !ok {
		return []Key{key}, nil
	}
	replicas := r.Replicas()
	refuse := func(reason string) error { return &Error{KeyType: keyType(key.Public()), Reason: reason} }
	if len(replicas) == 0 {
		return nil, refuse("the replicated key has no replicas; it must have at least one")
	}
	if err := checkReplicas(replicas); err != nil {
		return nil, err
	}
	if !samePublic(key.Public(), replicas[0].Public()) {
		return nil, refuse("the replicated key has another public half than its replicas")
	}
	names := b.names(replicas)
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, refuse(fmt.Sprintf("two replicas are named %q; their names, or those in the fan-out's Names, must differ", name))
		}
	}
	if len(replicas) > 1 && b.fan == nil {
		return nil, refuse(fmt.Sprintf("the key has %d replicas, and the stack does not fan out to them; add Failover or Balance to the Builder where it should", len(replicas)))
	}
	return replicas, nil
}

// names returns what the replicas are called: by the fan-out's options, or else
// by themselves.
func (b Builder) names(replicas []Key) []string {
	var names []string
	for i, r := range replicas {
		name := keyName(r, i, len(replicas))
		if i < len(b.fanNames) && b.fanNames[i] != "" {
			name = b.fanNames[i]
		}
		names = append(names, name)
	}
	return names
}

// assemble makes the stack: the layers above the fan-out, and those below it for
// each replica.
func (b Builder) assemble(key Key, replicas []Key) Service {
	above, below := b.above, b.below
	if b.fan == nil {
		above, below = nil, b.above
	}
	names := b.names(replicas)
	var services []Service
	for i, r := range replicas {
		name := names[i]
		verify := verifyLayer
		if b.skipVerify {
			verify = presenceLayer
		}
		service := verify(key.Public())(r)
		service = b.instrumented("key")(service)
		service = b.stack(below, name)(service)
		if len(replicas) > 1 {
			service = title(name, len(b.instrument) > 0)(service)
		}
		services = append(services, service)
	}
	service := services[0]
	if b.fan != nil {
		service = b.instrumented(b.fanName)(b.fan(names, services))
	}
	service = b.stack(above, "")(service)
	if b.needsTimeout() {
		service = timeout.Layer[Request, Response](DefaultTimeout)(service)
		service = b.instrumented("timeout")(service)
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

// needsTimeout reports whether no Timeout comes before the first layer in which
// a call may wait, or before the fan-out or the key. Layers of the user's own are
// taken not to wait.
func (b Builder) needsTimeout() bool {
	for _, s := range b.above {
		if s.limit > 0 {
			return false
		}
		if mayWait(s.name) {
			break
		}
	}
	return !b.noTimeout
}

func mayWait(layer string) bool {
	switch layer {
	case "retry", "ratelimit", "concurrency", "adaptive", "hedge":
		return true
	}
	return false
}

// title gives a replica's stack a line of its own in Describe. Instruments find
// its name in the context; without any, the allocation is saved.
func title(name string, instrumented bool) Layer {
	return turret.LayerFunc(name, func(ctx context.Context, req Request, next Service) (Response, error) {
		if instrumented {
			ctx = turret.WithReplica(ctx, name)
		}
		return next.Call(ctx, req)
	})
}
