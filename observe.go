package turret

import (
	"context"
	"time"
)

// Event is something that a layer did about a call, and that neither its caller
// nor the service below sees: it called again, refused, or went elsewhere.
//
//	Layer        Kind       what else there is
//	retry        retry      Count, Err, Delay
//	hedge        hedge      Count, Delay
//	hedge        win        Count, Delay
//	failover     next       Err, From, To
//	failover     change     Name, From, To, Err
//	balance      change     Name, From, To, Err, Delay
//	balance      refuse     Err
//	breaker      change     Name, From, To
//	breaker      refuse     Name, Err
//	ratelimit    wait       Delay
//	ratelimit    refuse     Err
//	ratelimit    unready    Err
//	concurrency  wait       Delay
//	concurrency  refuse     Err
//	adaptive     wait       Delay
//	adaptive     refuse     Err
//	buffer       refuse     Err
//	throttle     refuse     Err
//	loadshed     refuse     Err
//	filter       refuse     Err
//	steer        refuse     Err
//	fallback     fall back  Err
//	coalesce     join
//	reconnect    connect    Err, Delay
//	reconnect    break      Err
//	reconnect    refuse     Err
//	recovery     panic      Err
//	chaos        fault      Name, Err
//
// A call that waits in vain is two events, a wait and what came of it. Where a rate
// limit stands above a breaker that is open, the breaker's refusals are the rate
// limit's events of kind unready, as it asks before it lets a call in. That a caller
// has gone is no refusal, and changes that no call makes, as where a member is
// removed, are no events.
//
// An Event holds nothing of the request or the response, except for what the service
// put in its error.
type Event struct {
	Layer string        // which layer did it: the name of its package
	Kind  EventKind     // what it did
	Name  string        // whom it concerns, where a layer has several below, or a name
	Count int           // which attempt has failed, or which hedge this is
	Delay time.Duration // how long the call waited for it, or will; for a change, how long that holds at least
	Err   error         // why, where an error was the reason
	From  string        // a state, or a replica
	To    string
}

// EventKind is what a layer did about a call.
type EventKind string

// The kinds of the layers here. One of your own may have its own.
const (
	EventRetry    EventKind = "retry"     // it will call again after Delay
	EventHedge    EventKind = "hedge"     // it called once more beside the first
	EventWin      EventKind = "win"       // the answer is that of a hedge
	EventNext     EventKind = "next"      // it goes on to the next replica
	EventRefuse   EventKind = "refuse"    // it did not make the call
	EventUnready  EventKind = "unready"   // it did not make the call, which those below would have refused
	EventWait     EventKind = "wait"      // it held the call up
	EventChange   EventKind = "change"    // this call made it change its state
	EventFallBack EventKind = "fall back" // it answered from elsewhere
	EventJoin     EventKind = "join"      // the call shares one that is under way
	EventConnect  EventKind = "connect"   // it tried to make its service
	EventBreak    EventKind = "break"     // it gave its service up
	EventPanic    EventKind = "panic"     // it made an error of a panic
	EventFault    EventKind = "fault"     // it failed the call on purpose
)

// WithObserver returns ctx for calls whose events observe is to be told of, as
// are the observers that ctx has already. Telemetry uses it; see [Report].
//
// Observe is called by the layers, in the goroutine of the call, and by several
// at a time where calls are made at once. Below a layer that calls in goroutines of
// its own, such as a hedge, it is called in those, also after the call from which
// they come has returned. It is to be quick, and not to block; a panic of it comes
// up in the call. WithObserver panics if observe is nil.
func WithObserver(ctx context.Context, observe func(ctx context.Context, e Event)) context.Context {
	if observe == nil {
		panic("turret: WithObserver needs a function that observes; it was given nil")
	}
	outer, _ := ctx.Value(observerKey{}).(*observer)
	return context.WithValue(ctx, observerKey{}, &observer{observe, outer})
}

// Report tells the observers of ctx what a layer did, the innermost first. It is
// for layers, and costs a look into ctx where nobody observes: layers report
// what is rare, and not that a call went well.
func Report(ctx context.Context, e Event) {
	o, _ := ctx.Value(observerKey{}).(*observer)
	for ; o != nil; o = o.outer {
		o.observe(ctx, e)
	}
}

type observerKey struct{}

type observer struct {
	observe func(context.Context, Event)
	outer   *observer
}
