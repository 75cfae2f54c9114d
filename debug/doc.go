// Package debug is a page that shows stacks at work, as net/http/pprof shows a
// program: every layer with its state now, how long calls took in the last
// minute, how they ended, and what went wrong last. It refreshes itself, works
// without JavaScript, and asks nothing of any other server.
//
//	mux.Handle("GET /debug/turret", debug.Handler(map[string]any{"web": web, "release": release}))
//
// A stack is a signer.Signer, or any service of package turret. What it shows is
// what its layers tell: [turret.Stater] and, of calls, package stats. A
// signer.Signer keeps account of them by itself, both of what callers see and of
// what each key sees; any other stack has a stats.Layer, outermost and maybe
// innermost.
//
// The page changes nothing and signs nothing. It holds no request and no
// response, but what errors say: the ids of keys, and of requests for a vendor's
// support. That is for those who run the program, so it belongs where pprof
// does, on a listener that the public does not reach.
//
// # JSON
//
// The query format=json asks for the same as JSON, which is a [Report]. Fields are
// added to it over time, and none is renamed or removed. Durations are numbers of
// seconds, and their names end in _seconds. A layer's state is an object whose
// keys are those of its slog.Attr: the layer's name first, then what it says.
//
//	curl -s 'localhost:6060/debug/turret?format=json' |
//		jq '.. | .breaker? | select(.state == "open")'
package debug
