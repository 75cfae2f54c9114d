package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/turretgo/turret/bench/soak"
)

// runSoak soaks turret's stacks. What it finds broken is an error, beside the
// tables.
func runSoak(ctx context.Context, o options) (*section, error) {
	options := soak.Full()
	if o.short {
		options = soak.Short()
	}
	if o.n != 0 {
		options.Signatures = o.n
	}
	if options.Signatures < 1 {
		return nil, fmt.Errorf("-n is %d; it must be at least 1", options.Signatures)
	}
	result, err := soak.Do(ctx, options)
	if err != nil {
		return nil, err
	}
	var broken []error
	for _, c := range result.Checks() {
		for _, how := range c.Broken {
			broken = append(broken, fmt.Errorf("not so: %s: %s", c.Invariant, how))
		}
	}
	return &section{name: "soak", tables: result.Tables(), data: result, failed: errors.Join(broken...)}, nil
}
