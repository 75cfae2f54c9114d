// Command fleet shows what it takes to keep a fleet of 2, 10, 100 or 1,000
// replicas within one KMS quota of 1,000 signatures a second: with no limiter,
// with a static split (each replica limits itself to the quota by their number),
// with adaptive limiters, which know the quota and not each other, and with the
// limiter of module redis, which counts in Redis for all.
//
//	go run ./examples/fleet                     # three tables, in Markdown; a minute
//	go run ./examples/fleet -svg docs/fleet.svg # and a plot of them
//
// Time is virtual, that of testing/synctest, in which computing takes none.
//
// What is real: turret's layers, with the figures of signer.Defaults for a
// Timeout of 2 s, one stack a replica; the limiters; redis_rate's script, run by
// miniredis and asked by one go-redis client a replica.
//
// What is simulated: the KMS, which answers after 15 ms (the median; 1 % takes
// more than 60 ms), has a token bucket of the quota and a second's worth of
// burst, and throttles past it; a throttled call costs the quota nothing. The
// way to Redis, half a millisecond. The callers, who come at random (a Poisson
// process a replica) and have 2 s of patience each. An uneven load is one where
// a fifth of the replicas is asked for four fifths of the signatures.
//
// What is told, of 10 s that follow 5 s of warming up:
//
//   - goodput: signatures made, of as many as quota and demand allow.
//   - throttled: the share of calls of the KMS that it throttled.
//   - fairness: Jain's index of the part that each replica got of its max-min
//     fair share of the quota: 1 if all got the same part, k/n if k of n
//     replicas got that and the others nothing. Of 1,000 replicas under an even
//     load each is due ten signatures, and chance alone makes it 0.96.
//   - calls of the KMS, and of Redis, for each signature made.
//
// Load, latency and the KMS's dice are seeded; the layers' jitter is not, nor is
// which of two goroutines runs first. So another run's figures differ, by about
// a percent where the fleet is stable, and by some where it is not: adaptive
// limiters swing.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"github.com/turretgo/turret/examples/internal/command"
)

// main is a test, as synctest.Test wants a *testing.T, which outside of go test
// only testing.Main makes: testing.RunTests runs nothing that Main has not
// prepared. Main would read go test's flags, so it is given no arguments, and
// would print PASS, so that main exits before.
func main() {
	debug.SetGCPercent(400) // miniredis makes and drops a Lua machine a script
	_ = flag.CommandLine.Parse(nil)
	fleet := testing.InternalTest{Name: "fleet", F: func(t *testing.T) {
		command.Main("fleet", func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			return run(ctx, t, args, stdout, stderr)
		})
		os.Exit(0)
	}}
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{fleet}, nil, nil)
}

type options struct {
	length time.Duration
	most   int
	svg    string
}

func run(ctx context.Context, t *testing.T, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	results, err := runAll(ctx, t, o.scenarios(), func() { fmt.Fprint(stderr, ".") })
	fmt.Fprintln(stderr)
	if err != nil {
		return err
	}
	printTables(stdout, results)
	if o.svg == "" {
		return nil
	}
	return os.WriteFile(o.svg, []byte(plot(results)), 0o644)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.DurationVar(&o.length, "for", 10*time.Second, "how much virtual time each fleet is watched for, after half as much to warm up")
	flags.IntVar(&o.most, "most", 1000, "leave out fleets of more replicas than this")
	flags.StringVar(&o.svg, "svg", "", "write a plot to this `file`")
	if err := command.Parse(flags, args, 0, "[flags]\n\nRuns fleets of replicas against one KMS quota in virtual time, and compares how they\nkeep to it.", stderr); err != nil {
		return o, err
	}
	switch {
	case o.length < time.Second:
		return o, command.Mistakef("-for is %v; it must be at least 1s", o.length)
	case o.most < sizes[0]:
		return o, command.Mistakef("-most is %d; the smallest fleet has %d replicas", o.most, sizes[0])
	}
	return o, nil
}

// sizes are those of the fleets.
var sizes = []int{2, 10, 100, 1000}

func (o options) scenarios() (all []scenario) {
	for _, l := range loads {
		for _, n := range sizes {
			if n > o.most {
				break
			}
			for _, s := range strategies {
				all = append(all, scenario{load: l, replicas: n, strategy: s, warmUp: o.length / 2, length: o.length})
			}
		}
	}
	return all
}

// runAll runs the scenarios, as many at once as there are processors, and tells
// done of each that has ended. It begins no other when ctx has ended.
func runAll(ctx context.Context, t *testing.T, scenarios []scenario, done func()) ([]result, error) {
	results := make([]result, len(scenarios))
	errs := make([]error, len(scenarios))
	t.Run("fleets", func(t *testing.T) { // which ends when all in it have
		for i, s := range scenarios {
			t.Run(s.strategy.name, func(t *testing.T) {
				t.Parallel()
				if errs[i] = ctx.Err(); errs[i] == nil {
					results[i], errs[i] = s.run(t)
					done()
				}
			})
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}
