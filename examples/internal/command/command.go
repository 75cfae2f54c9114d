// Package command is what the examples' commands have in common: how they start,
// how they end, and how they speak of mistakes on the command line.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Func is what a command does. Its context ends with SIGINT, SIGTERM, and SIGHUP
// unless that is ignored, as under nohup: a command whose terminal is closed has
// sockets and folders to remove, too.
type Func func(ctx context.Context, args []string, stdout, stderr io.Writer) error

// Main runs a command, prints its error, and exits: with status 2 for a mistake on
// the command line, 1 for any other error, and 0 otherwise.
func Main(name string, run Func) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return
	case errors.As(err, new(mistake)):
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(2)
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	os.Exit(1)
}

type mistake struct{ error }

func (m mistake) Unwrap() error { return m.error }

// Mistakef returns an error that is a mistake on the command line.
func Mistakef(format string, args ...any) error { return mistake{fmt.Errorf(format, args...)} }

// KeyVar defines the flag -key, which names a real key in place of a throw-away one.
// Given and empty, as by a variable that the shell does not have, it is a mistake: who
// names a key does not want another's signatures.
func KeyVar(flags *flag.FlagSet, uri *string, usage string) {
	flags.Func("key", usage, func(value string) error {
		if value == "" {
			return errors.New("it is empty; a key's URI reads awskms:///alias/release?region=eu-west-1")
		}
		*uri = value
		return nil
	})
}

// Parse parses the flags of a command that takes up to operands other arguments.
// Asked for help, it prints usage and the flags, and returns flag.ErrHelp.
func Parse(flags *flag.FlagSet, args []string, operands int, usage string, stderr io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stderr, "usage: go run ./examples/%s %s\n\n", flags.Name(), usage)
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return err
	case err != nil:
		return Mistakef("%w; -h lists the flags", err)
	case flags.NArg() > operands && operands == 0:
		return Mistakef("%q is no flag; -h lists them", flags.Arg(0))
	case flags.NArg() > operands:
		return Mistakef("%q is one too many; flags come first, and at most %d other after them", flags.Arg(operands), operands)
	}
	return nil
}
