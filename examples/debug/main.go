// Command debug shows package debug's page: two signers at work, one of which has
// a Region that fails now and then.
//
//	go run ./examples/debug
//	go run ./examples/debug -key 'awskms:///alias/web?region=eu-west-1'
//	go run ./examples/debug -screenshot docs/debug.png
//
// The KMS is in the process. Key "ca" is in two Regions, and home is well for 40
// seconds, and then down for 40; key "release" is in one that throttles a little.
// With -key a third stack signs once a second with a key of yours. It serves the
// page until it is interrupted, or, with -screenshot, until the page has a minute
// to show, has Chromium take its picture, and exits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/debug"
	"github.com/turretgo/turret/examples/internal/command"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func main() { command.Main("debug", run) }

type options struct {
	listen, keyURI string
	screenshot     string
	chromium       string // its path, if there is a screenshot to take
	after          time.Duration
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup // the load, and the weather
	defer background.Wait()
	defer cancel()

	home, other := kmstest.NewServer(), kmstest.NewServer()
	defer home.Close()
	defer other.Close()
	away := home.Replica("eu-west-1")
	other.Inject(throttling)
	away.Inject(farther)
	home.Inject(well)
	stacks := map[string]any{}
	var loads []func() // which begin when all keys are open
	for _, s := range []struct {
		name     string
		provider signer.KeyProvider
		every    time.Duration
	}{
		{"ca", awskms.MultiRegion(home.CreateKey(types.KeySpecEccNistP256), home.Client(), away.Client()), 20 * time.Millisecond},
		{"release", awskms.New(other.Client(), other.CreateKey(types.KeySpecRsa3072)), 120 * time.Millisecond},
		{"yours", o.provider(), time.Second},
	} {
		if s.provider == nil {
			continue
		}
		key, err := signer.NewBuilder(s.provider).Defaults(signer.Defaults{}).Build(ctx)
		if err != nil {
			return err
		}
		defer key.Close()
		defer background.Wait() // before the key is closed
		defer cancel()
		stacks[s.name] = key
		loads = append(loads, func() { load(ctx, key, s.every) })
	}
	for _, load := range loads {
		background.Go(load)
	}
	background.Go(func() { follow(ctx, home) })
	return o.serve(ctx, stacks, stdout)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("debug", flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "serve the page on this `address`")
	command.KeyVar(flags, &o.keyURI, "show a signer with the key of this `URI`, awskms:///…, too")
	flags.StringVar(&o.screenshot, "screenshot", "", "have Chromium write a picture of the page to this `file`, and exit")
	flags.DurationVar(&o.after, "after", 64*time.Second, "how long to wait for what -screenshot shows")
	if err := command.Parse(flags, args, 0, "[flags]\n\nServes the debug page of two signers at work, one of which has a Region that fails.", stderr); err != nil {
		return o, err
	}
	if o.after < 0 {
		return o, command.Mistakef("-after is %v; it must be at least 0", o.after)
	}
	if o.screenshot == "" {
		return o, nil
	}
	var err error
	if o.chromium, err = exec.LookPath("chromium"); err != nil {
		return o, command.Mistakef("-screenshot needs Chromium (apt-get install chromium): %w", err)
	}
	return o, nil
}

// provider opens the key of -key, and is nil without one.
func (o options) provider() signer.KeyProvider {
	if o.keyURI == "" {
		return nil
	}
	return signer.KeyProviderFunc(func(ctx context.Context) (signer.Key, error) {
		provider, err := awskms.Open(ctx, o.keyURI)
		if err != nil {
			return nil, err
		}
		return provider.ProvideKey(ctx)
	})
}

// path is where the page is, as pprof's are below /debug/.
const path = "/debug/turret"

// serve serves the page until ctx ends, or its picture is taken.
func (o options) serve(ctx context.Context, stacks map[string]any, stdout io.Writer) (err error) {
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return command.Mistakef("%w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+path, debug.Handler(stacks))
	server := http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		err = errors.Join(err, server.Close())
		if end := <-served; !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
	}()

	url := "http://" + listener.Addr().String() + path
	if o.screenshot == "" {
		fmt.Fprintf(stdout, "Serving until interrupted. Look at\n\n  %s\n  %s?format=json\n\n", url, url)
		<-ctx.Done()
		return nil
	}
	fmt.Fprintf(stdout, "%s has its picture taken in %v.\n", url, o.after)
	select {
	case <-time.After(o.after):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := screenshot(ctx, o.chromium, url+"?refresh=0&stack=ca", o.screenshot); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "It is in %s.\n", o.screenshot)
	return nil
}

// load has something signed every so often, and sometimes by somebody in a hurry.
func load(ctx context.Context, key *signer.Signer, every time.Duration) {
	var calls sync.WaitGroup
	defer calls.Wait()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	opts := key.Algorithms()[0].SignerOpts()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		calls.Go(func() {
			patience := 5 * time.Second
			if n%1000 == 999 {
				patience = 8 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			key.WithContext(ctx).SignMessage(nil, []byte("a message"), opts) // the page tells what became of it
		})
	}
}

// The weather at each KMS.
var (
	well       = kmstest.Faults{Seed: 1, Latency: kmstest.LogNormal(9*time.Millisecond, 60*time.Millisecond), Internal: 0.005}
	down       = kmstest.Faults{Seed: 2, Latency: kmstest.LogNormal(9*time.Millisecond, 60*time.Millisecond), Down: true}
	farther    = kmstest.Faults{Seed: 3, Latency: kmstest.LogNormal(35*time.Millisecond, 180*time.Millisecond)}
	throttling = kmstest.Faults{Seed: 4, Latency: kmstest.LogNormal(15*time.Millisecond, 120*time.Millisecond), Throttle: 0.05, Hang: 0.002}
)

// follow makes home well and not, by turns.
func follow(ctx context.Context, home *kmstest.Server) {
	for i := 0; ; i++ {
		home.Inject([]kmstest.Faults{well, down}[i%2])
		select {
		case <-time.After(40 * time.Second):
		case <-ctx.Done():
			return
		}
	}
}
