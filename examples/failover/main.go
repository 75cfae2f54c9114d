// Command failover signs with a key that is in two Regions, of which home fails
// on a schedule, and prints a timeline of who signed.
//
//	go run ./examples/failover
//	go run ./examples/failover -key 'awskms:///mrk-…?region=eu-west-1&region=eu-central-1' -for 1m
//
// The KMS is in the process, in two Regions, unless -key names another. The stack
// is signer.Defaults: a call begins at home, and goes on to the other Region when
// home fails. After three failures in a row calls begin at the other one, so that
// a home that hangs makes those of a quarter of a second wait, an attempt's timeout,
// and no later ones; a copy of one call a second finds out when home is well, and
// nobody waits for that. It exits with status 0 if no signature was lost.
package main

import (
	"context"
	"crypto"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func main() { command.Main("failover", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("failover", flag.ContinueOnError)
	var uri string
	command.KeyVar(flags, &uri, "sign with the key of this `URI`, awskms:///…, in place of a KMS in the process")
	duration := flags.Duration("for", 0, "how long to sign; 0 is the schedule once, or ten seconds with -key")
	if err := command.Parse(flags, args, 0, "[flags]\n\nSigns with a key in two Regions, of which one fails, and prints who signed.", stderr); err != nil {
		return err
	}
	if *duration < 0 {
		return command.Mistakef("-for is %v; it must be at least 0", *duration)
	}
	events := schedule
	var provider signer.KeyProvider
	if uri != "" {
		var err error
		if provider, err = awskms.Open(ctx, uri); err != nil {
			return err
		}
		events = []event{{length: 10 * time.Second, state: "as it is"}}
	} else {
		home := kmstest.NewServer()
		defer home.Close()
		away := home.Replica("eu-west-1")
		home.Inject(well)
		away.Inject(farther)
		provider = awskms.MultiRegion(home.CreateKey(types.KeySpecEccNistP256), home.Client(), away.Client())
		defer follow(ctx, events, home)()
	}

	t := newTimeline(stdout, events)
	key, err := signer.NewBuilder(provider).Use(t.layer()).Defaults(signer.Defaults{}).Build(ctx)
	if err != nil {
		return err
	}
	defer key.Close()
	fmt.Fprintf(stdout, "%s\n\n", turret.Describe(key))
	return t.sign(ctx, key, *duration)
}

// event is a state of home, and how long it lasts.
type event struct {
	length time.Duration
	state  string
	faults kmstest.Faults
}

var (
	well    = kmstest.Faults{Latency: kmstest.LogNormal(10*time.Millisecond, 30*time.Millisecond)}
	farther = kmstest.Faults{Latency: kmstest.LogNormal(40*time.Millisecond, 90*time.Millisecond)}
)

var schedule = []event{
	{2 * time.Second, "well", well},
	{3 * time.Second, "hung", kmstest.Faults{Hang: 1}},
	{3 * time.Second, "well", well},
	{2 * time.Second, "throttled", kmstest.Faults{Throttle: 1}},
	{3 * time.Second, "well", well},
	{2 * time.Second, "down", kmstest.Faults{Down: true}},
	{3 * time.Second, "well", well},
}

// follow makes home fail on schedule, until it is told to stop.
func follow(ctx context.Context, events []event, home *kmstest.Server) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, e := range events {
			home.Inject(e.faults)
			select {
			case <-time.After(e.length):
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

// signEvery is how often a signature is asked for.
const signEvery = 25 * time.Millisecond

// sign asks for signatures until the schedule, or d if it is set, is over.
func (t *timeline) sign(ctx context.Context, key *signer.Signer, d time.Duration) error {
	if d > 0 {
		t.length = d
	}
	ticker := time.NewTicker(signEvery)
	defer ticker.Stop()
	for t.begin(); time.Since(t.start) < t.length && ctx.Err() == nil; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			continue
		}
		t.calls.Go(func() {
			began := time.Now()
			_, err := key.WithContext(ctx).SignMessage(nil, []byte("a message"), crypto.SHA256)
			t.signed(time.Since(began), err)
		})
	}
	t.calls.Wait()
	t.end()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return t.verdict()
}
