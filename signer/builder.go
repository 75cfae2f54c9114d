package signer

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/adaptive"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/loadshed"
	"github.com/turretgo/turret/middleware/logging"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/recovery"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/throttle"
	"github.com/turretgo/turret/middleware/timeout"
)

// DefaultTimeout bounds each signature of a stack that does not begin with a
// Timeout of its own, and the look-up of the key in [Builder.Build].
const DefaultTimeout = 30 * time.Second

// Builder composes a stack around a key, the first layer named outermost.
//
// A common stack, in its order, is
//
//	Timeout → Retry → Failover → RateLimit → CircuitBreaker → Timeout
//
// which is what [Builder.Defaults] makes. At Failover, or at Balance in its place,
// the stack fans out: the layers named after it are made once for each replica of
// the key, so that each has its own quota, breaker and attempt timeout. What goes
// around the key itself, innermost, is the verification of each signature.
//
// A Builder is a value: every method returns a new one and leaves its receiver as
// it was. It is safe for concurrent use, and may be built more than once: each
// Signer has a stack of its own. Options that make no sense are reported by
// [Builder.Build].
type Builder struct {
	provider   KeyProvider
	above      []step // the fan-out, or all steps where there is none
	fan        fanOut
	fanNames   []string // the replicas', where the caller gave them names
	fanName    string   // as Instrument has it
	below      []step   // made for each replica
	instrument []func(layer string) Layer
	noTimeout  bool
	skipVerify bool
	errs       []error
}

// probePatience is how long a breaker's probe may be out, at least, before another
// one goes. A key in a KMS answers sooner. After an outage that hangs under 400
// callers a second the first success comes after 0.06 s rather than 0.4 s.
const probePatience = 400 * time.Millisecond

// step makes one layer.
type step struct {
	name  string // as Instrument has it; "" for layers that are not named
	make  func(string) Layer
	limit time.Duration // of a Timeout
	trips *gobreaker.Settings
}

// fanOut makes one service of a key's replicas.
type fanOut func(names []string, replicas []Service) Service

// NewBuilder returns a Builder for the key that p finds.
func NewBuilder(p KeyProvider) Builder { return Builder{provider: p} }

// Timeout bounds what is below it: outermost, the whole call; innermost, each
// attempt. See package timeout.
func (b Builder) Timeout(d time.Duration) Builder {
	if err := timeout.Validate(d); err != nil {
		return b.fail("Timeout", err)
	}
	return b.add(step{name: "timeout", limit: d, make: func(string) Layer { return timeout.Layer[Request, Response](d) }})
}

// Retry signs again when signing failed and may not fail the next time. See
// package retry.
func (b Builder) Retry(o retry.Options) Builder {
	return with(b, "Retry", "retry", o, retry.Layer[Request, Response])
}

// RateLimit keeps signing within a quota. Signers of one account share its quota
// through one Limiter in their options. See package ratelimit.
func (b Builder) RateLimit(o ratelimit.Options) Builder {
	return with(b, "RateLimit", "ratelimit", o, ratelimit.Layer[Request, Response])
}

// Concurrency bounds how many signatures are under way. See package concurrency.
func (b Builder) Concurrency(o concurrency.Options) Builder {
	return with(b, "Concurrency", "concurrency", o, concurrency.Layer[Request, Response])
}

// Adaptive bounds how many signatures are under way by what their latency says
// of the key's holder. See package adaptive.
func (b Builder) Adaptive(o adaptive.Options) Builder {
	return with(b, "Adaptive", "adaptive", o, adaptive.Layer[Request, Response])
}

// Hedge asks once more when an answer is late, and takes the first that comes:
// from the next replica, where it stands above a fan-out. Signing twice does no
// harm. See package hedge.
func (b Builder) Hedge(o hedge.Options) Builder {
	return with(b, "Hedge", "hedge", o, hedge.Layer[Request, Response])
}

// LoadShed refuses at once what the layers below it are not ready for. Above a
// Retry that waits refusals out, it refuses first. See package loadshed.
func (b Builder) LoadShed(o loadshed.Options) Builder {
	return with(b, "LoadShed", "loadshed", o, loadshed.Layer[Request, Response])
}

// Throttle refuses here, in proportion, what a key over its quota would refuse
// there. Signers of one account share a History. See package throttle.
func (b Builder) Throttle(o throttle.Options) Builder {
	return with(b, "Throttle", "throttle", o, throttle.Layer[Request, Response])
}

// Recover makes errors of the panics below it, those of a wrapped signer's
// driver, say. It belongs innermost. See package recovery.
func (b Builder) Recover(o recovery.Options) Builder {
	return with(b, "Recover", "recovery", o, recovery.Layer[Request, Response])
}

// Log writes a record of each call that it sees: of each signature above the
// Retry, of each attempt below. It never writes a message, a digest or a
// signature. Below a fan-out, the replica's name is added to o.Name. See package
// logging.
func (b Builder) Log(o logging.Options) Builder {
	if err := o.Validate(); err != nil {
		return b.fail("Log", err)
	}
	return b.add(step{name: "logging", make: func(replica string) Layer {
		o := o
		o.Name = joinName(o.Name, replica)
		return logging.Layer[Request, Response](o)
	}})
}

// CircuitBreaker stops asking a key that keeps failing. A probe that hangs keeps
// its place for s.Timeout, or 0.4 s if that is longer, and then another one goes
// (breaker.NewImpatient). Below a fan-out, each replica's breaker has the replica's
// name added to s.Name. See package breaker.
func (b Builder) CircuitBreaker(s gobreaker.Settings) Builder {
	if err := breaker.Validate(s, 0); err != nil {
		return b.fail("CircuitBreaker", err)
	}
	return b.add(step{name: "breaker", trips: &s, make: func(replica string) Layer {
		s := s
		s.Name = joinName(s.Name, replica)
		return breaker.Share[Request, Response](breaker.NewImpatient(s, max(cmp.Or(s.Timeout, time.Minute), probePatience)))
	}})
}

// Use adds layers of your own.
func (b Builder) Use(layers ...Layer) Builder {
	for _, l := range layers {
		if l != nil {
			b = b.add(step{make: func(string) Layer { return l }})
		}
	}
	return b
}

// UseEach adds a layer of your own that is another one for each replica of the
// key: Build calls layer with the replica's name, which is "" where the key has
// none, and above a fan-out.
func (b Builder) UseEach(layer func(replica string) Layer) Builder {
	if layer == nil {
		return b
	}
	return b.add(step{make: layer})
}

// Failover fans out to the replicas of the key: the layers named after it are
// made for each, and the next replica is asked when those before it fail. With a
// key that has no replicas it passes through. See package failover.
//
// Signing twice does no harm, so o.Failures of 0 means 3 here: a replica that
// fails or hangs makes the first calls wait, and the later ones begin at the next
// replica until it is well. failover.Never turns that off.
func (b Builder) Failover(o failover.Options) Builder {
	if err := o.Validate(); err != nil {
		return b.fail("Failover", err)
	}
	o.Failures = cmp.Or(o.Failures, 3)
	return b.fanOut("Failover", "failover", o.Names, func(names []string, replicas []Service) Service {
		o := o
		o.Names = names
		return failover.New(o, replicas...)
	})
}

// Balance fans out as Failover does, but spreads signatures over the replicas by
// their load. A failed one is not tried at another: a Retry above does that. See
// package balance.
//
// Signing twice does no harm, so a replica that keeps failing is probed beside
// the calls, whatever o.Beside says, and o.Failures of 0 means 3 here.
func (b Builder) Balance(o balance.Options) Builder {
	if err := o.Validate(); err != nil {
		return b.fail("Balance", err)
	}
	o.Beside = true
	o.Failures = cmp.Or(o.Failures, 3)
	return b.fanOut("Balance", "balance", o.Names, func(names []string, replicas []Service) Service {
		if len(replicas) == 1 {
			return replicas[0]
		}
		o := o
		o.Names = names
		return balance.New(o, replicas...)
	})
}

// Instrument puts a layer of yours around every layer named by a method of
// Builder other than Use, wherever Instrument itself is called, around the
// timeout that a stack gets where it does not begin with one, and around the key.
// It is told the name: "key", or that of the layer's package. Nil layers are
// skipped. Below a fan-out, [turret.Replica] tells a layer which replica a call
// has come to.
func (b Builder) Instrument(layer func(layer string) Layer) Builder {
	if layer == nil {
		return b.fail("Instrument", errors.New("the function is nil"))
	}
	b.instrument = append(slices.Clip(b.instrument), layer)
	return b
}

// NoTimeout leaves a stack without the Timeout of DefaultTimeout that it gets
// where it does not begin with one. A Sign without a context may then never
// return.
func (b Builder) NoTimeout() Builder {
	b.noTimeout = true
	return b
}

// SkipVerify hands signatures out without verifying them, which saves the time
// of a verification each: 0.1 ms with P-256, and up to 2 ms with P-521. A wrong
// signature is then found by whoever gets it; one by a faulty RSA key may reveal
// the key. An empty one is thrown away still.
func (b Builder) SkipVerify() Builder {
	b.skipVerify = true
	return b
}

// Defaults adds the recommended stack for a key in a KMS; see [Defaults].
func (b Builder) Defaults(d Defaults) Builder { return d.addTo(b) }

// with adds a layer whose options can be checked now.
func with[O interface{ Validate() error }](b Builder, method, name string, o O, layer func(O) Layer) Builder {
	if err := o.Validate(); err != nil {
		return b.fail(method, err)
	}
	return b.add(step{name: name, make: func(string) Layer { return layer(o) }})
}

// joinName is the name of a layer among those of the other replicas.
func joinName(name, replica string) string {
	if name == "" || replica == "" {
		return name + replica
	}
	if strings.HasPrefix(replica, name+"/") { // "kms", among replicas that are called "kms/eu-west-1"
		return replica
	}
	return name + "/" + replica
}

func (b Builder) add(s step) Builder {
	if b.fan == nil {
		b.above = append(slices.Clip(b.above), s)
	} else {
		b.below = append(slices.Clip(b.below), s)
	}
	return b
}

func (b Builder) fanOut(method, name string, names []string, fan fanOut) Builder {
	if b.fan != nil {
		return b.fail(method, errors.New("the stack fans out already; a stack has one Failover or Balance"))
	}
	b.fan, b.fanName, b.fanNames = fan, name, slices.Clone(names)
	return b
}

func (b Builder) fail(method string, err error) Builder {
	b.errs = append(slices.Clip(b.errs), &Error{Reason: "Builder." + method, Err: turret.WithClass(err, turret.Permanent)})
	return b
}
