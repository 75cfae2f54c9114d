// Package overhead measures what layers cost a call that succeeds: each layer
// alone, and the stack of the four that everyone needs, beside the peers that
// have the same.
//
//	go test -run '^$' -bench . -count 8 ./overhead
//
// A benchmark's name is what is measured, by whom, and whether one goroutine
// calls or several do: Stack/turret/serial. Every service answers at once, and
// is given the caller's context with the deadline, where there is one, by turret
// and by peers alike. Compare medians of one run: the same machine a minute later
// is another machine.
package overhead
