// Command production is a signer with everything that is for running it: telemetry,
// the debug page, and a rate limit that a fleet shares through Redis.
//
//	go run ./examples/production
//
// It signs 10,000 digests with a key in a KMS, in its own process, that throttles,
// errs, resets, hangs and lies. Then it asks everybody who watched how often the
// KMS was called and what came of it: the KMS itself, the spans that
// OpenTelemetry got, the metrics that Prometheus would scrape, and the debug page,
// the last two over HTTP. It prints what they say, and fails unless they agree to
// the call.
//
// With -listen 127.0.0.1:6060 it goes on signing until it is interrupted, and
// serves /debug/turret and /metrics there.
//
// Redis is one in the process as well, unless -redis host:port names another.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"text/tabwriter"
	"time"

	"github.com/turretgo/turret/examples/internal/command"
)

func main() { command.Main("production", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("production", flag.ContinueOnError)
	var (
		signatures = flags.Int("n", 10_000, "how many `signatures` to make")
		listen     = flags.String("listen", "", "go on until interrupted, and serve the page and the metrics at this `address`")
		redis      = flags.String("redis", "", "`address` of the Redis that the limit is kept in; none is one in the process")
	)
	if err := command.Parse(flags, args, 0, "[flags]", stderr); err != nil {
		return err
	}
	if *signatures < 1 {
		return command.Mistakef("-n is %d; there must be at least one signature to make", *signatures)
	}
	address := *listen
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return command.Mistakef("-listen: %w", err)
	}
	p, err := start(ctx, listener, *redis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()

	if *listen != "" {
		fmt.Fprintf(stdout, "http://%s/debug/turret and /metrics, until interrupted\n", listener.Addr())
		p.sign(ctx, 1<<62, 20*time.Millisecond)
		return nil
	}
	p.sign(ctx, *signatures, 0)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	views, err := p.views(ctx)
	if err != nil {
		return err
	}
	if err := print(stdout, views); err != nil {
		return err
	}
	return agree(views)
}

// print prints what everybody saw.
func print(w io.Writer, views []view) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\tsignatures\tattempts\t")
	for _, class := range classes {
		fmt.Fprint(t, class, "\t")
	}
	fmt.Fprintln(t)
	for _, v := range views {
		signatures := "" // of which a KMS knows nothing
		if v.calls != nil {
			signatures = fmt.Sprint(*v.calls)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t", v.of, signatures, v.attempts())
		for _, class := range classes {
			fmt.Fprint(t, v.outcomes[class], "\t")
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
