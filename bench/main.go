// Command bench measures turret beside what people use today, and shows it.
//
//	go run . faults      # the same load on each signer, under the same faults
//	go run . handshake   # TLS handshakes a second
//	go run . sign        # what a signature costs
//	go run . overhead    # what layers cost
//	go run . scale       # many layers, callers, members
//	go run . report      # all of them, into docs/benchmarks.md
//
// One does not measure, but looks for what must never happen:
//
//	go run . soak        # a million signatures under faults, cancels and panics: ten minutes
//
// Each prints Markdown tables and writes what they are made of to a folder, as
// JSON. All measure in this run, turret and peers alike, on this machine: ratios
// carry over to others, absolute figures do not.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/turretgo/turret/bench/kmsproc"
	"github.com/turretgo/turret/bench/table"
)

// options are those of all commands.
type options struct {
	short bool
	out   string
	only  string // of the scenarios of faults
	n     int    // signatures of soak, or 0
}

// A section is what a command has measured.
type section struct {
	name   string
	tables []table.Table
	data   any               // what goes to name.json
	plots  map[string][]byte // SVG, by file name
	failed error             // what is wrong with it, once it was printed
}

// commands by name. A command that measures prints its progress on stderr.
var commands = map[string]func(context.Context, options) (*section, error){
	"faults":    runFaults,
	"handshake": runHandshake,
	"sign":      runSign,
	"overhead":  runOverhead,
	"scale":     runScale,
	"soak":      runSoak,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("which benchmark? One of faults, handshake, sign, overhead, scale, or report for all of these; or soak")
	}
	name, args := args[0], args[1:]
	switch name { // what this program runs itself as
	case kmsproc.Arg:
		return kmsproc.Serve(args, stdin, stdout)
	case faultsChild:
		return oneFault(ctx, args, stdout)
	case handshakeChild:
		return oneHandshake(ctx, args, stdin, stdout)
	case signChild:
		return allSign(ctx, stdin, stdout)
	}
	var o options
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.BoolVar(&o.short, "short", false, "measure a little of everything: whether it works, not how well")
	flags.StringVar(&o.out, "out", "results", "`folder` for JSON and plots")
	if name == "faults" {
		flags.StringVar(&o.only, "only", "", "carry out the `scenario` of this name alone")
	}
	if name == "soak" {
		flags.IntVar(&o.n, "n", 0, "how `many` signatures to ask for, if not a million, or 15,000 with -short")
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag; -h lists them", flags.Arg(0))
	}
	if name == "report" {
		return runReport(ctx, o, stdout)
	}
	command, ok := commands[name]
	if !ok {
		return fmt.Errorf("there is no benchmark %q; there are faults, handshake, sign, overhead, scale, report for all of these, and soak", name)
	}
	s, err := command(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(s.write(stdout, o.out), s.failed)
}

// write prints the tables, and writes the rest to a folder.
func (s *section) write(stdout io.Writer, folder string) error {
	for _, t := range s.tables {
		if err := t.Write(stdout); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(s.data, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, s.name+".json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	for name, plot := range s.plots {
		if err := os.WriteFile(filepath.Join(folder, name), plot, 0o644); err != nil {
			return err
		}
	}
	return nil
}
