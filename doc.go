// Package turret is Tower for Go: a generic [Service], layers that wrap it, and
// the few words that layers share.
//
// A service answers a request. A [Layer] wraps a service in another that adds
// one behaviour: a time limit, a retry, a rate limit, a circuit breaker. Layers
// compose into a stack, and the stack is a service again:
//
//	users := turret.NewBuilder[ID, User]()
//	users = turret.With(users, timeout.Layer, 2*time.Second)
//	users = turret.With(users, retry.Layer, retry.Options{MaxAttempts: 3})
//	svc := users.ServiceFunc(db.User)
//
// The first layer named is the outermost: it sees a call first and its result
// last. Above, two seconds bound all three attempts together; with the lines
// swapped, each attempt would have two seconds of its own.
//
// # Errors
//
// Layers act on what an error means, and none parses messages. A backend says
// it once, with an error that has a method Class() [Class], or with
// [WithClass]; [Classify] reads it. What an error means to a layer also depends
// on who ended the call, so layers ask [Outcome]: a deadline of the caller's
// own says nothing about the service, and must open no circuit breaker.
//
// An error that nobody classified counts as a failure. A service whose errors
// carry answers of its domain (a row that does not exist) marks them, which is
// what [MapError] is for.
//
// # Looking into a stack
//
// A layer's service says its own line with String and names what it wraps with
// Unwrap() []any. [Describe] prints a stack from this, [Ready] asks it whether
// it would admit a call now, and [Close] closes what in it holds goroutines or
// connections. A layer that has no Unwrap is given one by [Stack].
//
// # Many requests
//
// [CallAll] calls a service for every request of a sequence, so many at a time,
// and yields the answers in order or as they come.
//
// # Writing a layer
//
// A layer without state of its own is a function: see [LayerFunc]. One with
// state is a struct with a Call method; it makes fresh state each time it wraps
// a service, and takes what is to be shared from its caller.
//
// This package imports the standard library only.
package turret
