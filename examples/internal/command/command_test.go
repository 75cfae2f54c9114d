package command_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/examples/internal/command"
)

func TestMain(m *testing.M) {
	if os.Getenv("BE_A_COMMAND") == "" {
		os.Exit(m.Run())
	}
	command.Main("demo", func(_ context.Context, args []string, stdout, stderr io.Writer) error {
		flags := flag.NewFlagSet("demo", flag.ContinueOnError)
		fail := flags.Bool("fail", false, "end with an error")
		if err := command.Parse(flags, args, 1, "[flags] [FILE]\n\nShows itself.", stderr); err != nil {
			return err
		}
		if *fail {
			return errors.New("as you wish")
		}
		_, err := io.WriteString(stdout, "done\n")
		return err
	})
}

func TestExitStatusAndMessages(t *testing.T) {
	for args, want := range map[string]struct {
		status         int
		stdout, stderr string
	}{
		"":        {0, "done\n", ""},
		"-h":      {0, "", "usage: go run ./examples/demo [flags] [FILE]\n\nShows itself.\n\n  -fail\n    \tend with an error\n"},
		"-fail":   {1, "", "demo: as you wish\n"},
		"-nope":   {2, "", "demo: flag provided but not defined: -nope; -h lists the flags\n"},
		"one":     {0, "done\n", ""},
		"one two": {2, "", "demo: \"two\" is one too many; flags come first, and at most 1 other after them\n"},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(args)...)
		cmd.Env = append(os.Environ(), "BE_A_COMMAND=1")
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run()
		require.Equal(t, want.status, cmd.ProcessState.ExitCode(), args)
		require.Equal(t, want.stdout, stdout.String(), args)
		require.Equal(t, want.stderr, stderr.String(), args)
	}
}
