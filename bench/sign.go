package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/turretgo/turret/bench/kmsproc"
	"github.com/turretgo/turret/bench/sign"
	"github.com/turretgo/turret/bench/signers"
	"github.com/turretgo/turret/bench/table"
)

const signChild = "sign-all"

// signLoad is how much is measured.
type signLoad struct{ Rounds, Each int }

// signers of one process, and what each is compared with.
var signPairs = []struct{ name, baseline string }{
	{"plain SDK", ""},
	{"step", "plain SDK"},
	{"sigstore", "plain SDK"},
	{signers.Unverified.Name, "plain SDK"},
	{signers.Verified.Name, ""},
	{signers.Unlimited.Name, signers.Verified.Name},
}

func runSign(ctx context.Context, o options) (_ *section, err error) {
	kms, err := kmsproc.Start(ctx, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kms.Close()) }()
	c, err := startChild(ctx, kms, signChild)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	load := signLoad{Rounds: 60, Each: 250}
	if o.short {
		load = signLoad{Rounds: 3, Each: 50}
	}
	var costs []sign.Cost
	if err := c.do(load, &costs); err != nil {
		return nil, err
	}
	t := table.Table{Head: []string{"signer", "time", "CPU", "allocations", "bytes", "CPU, to", "ratio"}}
	for _, c := range costs {
		to, ratio := "–", "–"
		if c.Baseline != "" {
			to, ratio = c.Baseline, fmt.Sprintf("%.3f", c.CPURatio)
		}
		t.Add(c.Name, table.Duration(c.Wall), table.Duration(c.CPU), fmt.Sprintf("%.0f", c.Allocs), fmt.Sprintf("%.0f", c.Bytes), to, ratio)
	}
	return &section{name: "sign", tables: []table.Table{t, signGoals(costs)}, data: costs}, nil
}

// allSign is the process of all signers.
func allSign(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	kms, err := kmsproc.FromEnv()
	if err != nil {
		return err
	}
	var contenders []sign.Contender
	for _, p := range signPairs {
		c, err := signers.Find(p.name)
		if err != nil {
			return err
		}
		s, err := c.Open(ctx, signers.Target{KeyID: kms.KeyID})
		if err != nil {
			return err
		}
		defer s.Close()
		contenders = append(contenders, sign.Contender{Name: p.name, Baseline: p.baseline, Sign: s.Sign})
	}
	return answer(stdin, stdout, func(l signLoad) ([]sign.Cost, error) { return sign.Measure(ctx, contenders, l.Rounds, l.Each) })
}
