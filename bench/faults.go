package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"

	"github.com/turretgo/turret/bench/faults"
	"github.com/turretgo/turret/bench/kmsproc"
	"github.com/turretgo/turret/bench/signers"
)

// faultsChild is the argument that makes this program drive one signer.
const faultsChild = "faults-one"

// runFaults carries each scenario out on each signer, which has a process of its
// own and so has its KMS. Where the load is light the signers run at the same time,
// for the CPU is not what is measured.
func runFaults(ctx context.Context, o options) (*section, error) {
	var results []faults.Result
	plots := make(map[string][]byte)
	if o.only != "" {
		if _, err := faults.Find(o.only); err != nil {
			return nil, err
		}
	}
	for _, s := range faults.Scenarios() {
		if o.only != "" && s.Name != o.only {
			continue
		}
		contenders := signers.All()
		if s.Name == "quota" {
			contenders = append(contenders, signers.Told)
		}
		atOnce := len(contenders)
		if s.Rate > 200 {
			atOnce = 1
		}
		if o.short {
			contenders = slices.DeleteFunc(contenders, func(c signers.Contender) bool { return c.Name != "plain SDK" && c.Name != "turret" })
			atOnce = 2
		}
		found, err := driveAll(ctx, s, contenders, atOnce, o.short)
		if err != nil {
			return nil, err
		}
		for _, run := range found {
			results = append(results, run.Result())
		}
		switch s.Name {
		case "flaky":
			plots["flaky.svg"] = faults.LatencyPlot("Flaky: signatures that were there by when", found)
		case "hung outage":
			plots["hung-outage.svg"] = faults.TimelinePlot("Hung outage, from 2 to 7 s: the slowest signature", found)
		}
		fmt.Fprintf(os.Stderr, "faults: %s done\n", s.Name)
	}
	return &section{
		name:   "faults",
		tables: append(faults.Tables(results), faults.GoalsTable(results)),
		data:   results,
		plots:  plots,
	}, nil
}

// driveAll carries a scenario out on signers, so many at once.
func driveAll(ctx context.Context, s faults.Scenario, contenders []signers.Contender, atOnce int, short bool) ([]*faults.Run, error) {
	runs := make([]*faults.Run, len(contenders))
	errs := make([]error, len(contenders))
	places := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, c := range contenders {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			runs[i], errs[i] = drive(ctx, s, c, short)
		})
	}
	wg.Wait()
	return runs, errors.Join(errs...)
}

// drive carries a scenario out on a signer in a process of its own.
func drive(ctx context.Context, s faults.Scenario, c signers.Contender, short bool) (_ *faults.Run, err error) {
	kms, err := kmsproc.Start(ctx, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kms.Close()) }()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, self, faultsChild, s.Name, c.Name, strconv.FormatBool(short))
	cmd.Env, cmd.Stdout, cmd.Stderr = kms.Env(), &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s, %s: %w", s.Name, c.Name, err)
	}
	run := new(faults.Run)
	return run, json.Unmarshal(out.Bytes(), run)
}

// oneFault is that process.
func oneFault(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 3 {
		return fmt.Errorf("%s takes a scenario, a signer, and whether it is short", faultsChild)
	}
	kms, err := kmsproc.FromEnv()
	if err != nil {
		return err
	}
	s, err := faults.Find(args[0])
	if err != nil {
		return err
	}
	if args[2] == "true" {
		s = s.Short()
	}
	c, err := signers.Find(args[1])
	if err != nil {
		return err
	}
	key, err := c.Open(ctx, signers.Target{KeyID: kms.KeyID})
	if err != nil {
		return err
	}
	run, err := s.Do(ctx, c.Name, kms, key.Public(), key.Sign)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(run)
}
