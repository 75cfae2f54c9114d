package awskms

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// MultiRegion returns a provider of a key that is in several Regions: a
// multi-Region key and its replicas, or keys with the same imported material. It
// takes one client for each Region, in order of preference. The key that it
// provides is a [signer.Replicated]; a stack fans out to the Regions at
// [signer.Builder.Failover] or [signer.Builder.Balance].
//
// KeyID is sent to each Region as it is: the id of a multi-Region key ("mrk-…")
// or an alias, which every Region has for itself. An ARN is rewritten for each.
//
// One Region that answers is enough to begin with. The others have a second more;
// one that is down or hangs is opened later, by the first signature that is asked
// of it, and its public half compared with the first one's then. One that answers
// that the key is not there, is disabled or may not be used is an error, and so
// are keys that differ: better found out now than on the day that Region is
// needed. Found out later, or come about while the key is in use, it takes that
// Region out of use, so that the others are asked; it is looked at again every ten
// seconds. To stop a key from signing, disable it in every Region.
func MultiRegion(keyID string, clients ...API) signer.KeyProvider {
	clients = slices.Clone(clients)
	return signer.KeyProviderFunc(func(ctx context.Context) (signer.Key, error) {
		regions, err := regionsOf(keyID, clients)
		if err != nil {
			return nil, err
		}
		return openAll(ctx, keyID, regions)
	})
}

// regionsOf returns a provider for each client, with the key's name there.
func regionsOf(keyID string, clients []API) (regions []*provider, err error) {
	refuse := func(format string, args ...any) ([]*provider, error) {
		return nil, &signer.Error{KeyID: keyID, Reason: fmt.Sprintf(format, args...)}
	}
	if len(clients) == 0 {
		return refuse("MultiRegion needs a client for each Region; it was given none")
	}
	if len(clients) > 1 && !isMultiRegion(keyID) {
		return refuse("the key is in one Region only; the ids of multi-Region keys begin with mrk-. For others that have the same material, give an alias")
	}
	for i, client := range clients {
		p := &provider{client: prepared(client), keyID: keyID}
		if err := p.check(); err != nil {
			return nil, err
		}
		region := regionOf(client)
		if region != "" && slices.ContainsFunc(clients[:i], func(c API) bool { return regionOf(c) == region }) {
			return refuse("two of MultiRegion's clients are for %s; it takes one for each Region", region)
		}
		if a, err := arn.Parse(keyID); err == nil {
			if region == "" {
				return refuse("client %d does not tell its Region, for which the ARN would have to be rewritten; give MultiRegion the key's id (mrk-…) or an alias", i+1)
			}
			a.Region = region
			p.keyID = a.String()
		}
		regions = append(regions, p)
	}
	return regions, nil
}

// isMultiRegion reports whether a key of that name may be in several Regions.
func isMultiRegion(keyID string) bool {
	if a, err := arn.Parse(keyID); err == nil {
		keyID = strings.TrimPrefix(a.Resource, "key/")
	}
	return keyID == "" || strings.HasPrefix(keyID, "mrk-") || strings.HasPrefix(keyID, "alias/")
}

// regionOf returns the Region of a client that tells it, as *kms.Client does.
func regionOf(client API) string {
	if c, ok := client.(interface{ Options() kms.Options }); ok {
		return c.Options().Region
	}
	return ""
}

// place is the provider's Region in an error.
func (p *provider) place() string { return cmp.Or(regionOf(p.client), "a Region") }

// patience is how long the other Regions have once one has given the key, or said
// that it never will.
const patience = time.Second

// openAll asks all Regions at the same time.
func openAll(ctx context.Context, keyID string, regions []*provider) (signer.Key, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys, errs := make([]signer.Key, len(regions)), make([]error, len(regions))
	answers := make(chan int)
	for i, p := range regions {
		go func() {
			defer func() { answers <- i }()
			p.provide(ctx, &keys[i], &errs[i])
		}()
	}
	var first signer.Key
	settled := false
	for range regions {
		i := <-answers
		if errs[i] == nil && first == nil {
			first = keys[i]
		}
		if !settled && (errs[i] == nil || isFinal(errs[i])) {
			settled = true
			defer time.AfterFunc(patience, cancel).Stop()
		}
	}
	if err := refusals(keyID, regions, errs); err != nil {
		return nil, err
	}
	if len(regions) > 1 {
		for i, p := range regions {
			keys[i] = newReplica(p, keys[i], first)
		}
	}
	return signer.Replicate(keys...)
}

// provide is ProvideKey in a goroutine of ours, where a panic of a client that is
// not the SDK's would end the program, and is an error therefore.
func (p *provider) provide(ctx context.Context, k *signer.Key, said *error) {
	returned := false
	defer func() {
		if r := recover(); !returned {
			*said = &signer.Error{KeyID: p.keyID, Reason: "the KMS client failed in GetPublicKey: " + unwound(r)}
		}
	}()
	*k, *said = p.ProvideKey(ctx)
	returned = true
}

func unwound(panicked any) string {
	if panicked == nil {
		return "it ended its goroutine"
	}
	return fmt.Sprintf("panic: %v", panicked)
}

// refusals returns an error if no Region gave the key, or if one said that it will
// not later either.
func refusals(keyID string, regions []*provider, errs []error) error {
	said, final := &regionsError{}, 0
	for i, err := range errs {
		if err != nil {
			said.places = append(said.places, regions[i].place())
			said.errs = append(said.errs, err)
		}
		if isFinal(err) {
			final++
		}
	}
	switch {
	case final > 0 && final < len(regions): // whatever the others say, or would have said
		return &signer.Error{
			KeyID:  keyID,
			Reason: "the key is not to be used in every Region; put that right, or leave out those where it is not to sign",
			Err:    turret.WithClass(said, turret.Permanent),
		}
	case len(said.errs) == len(regions):
		return &signer.Error{KeyID: keyID, Reason: "no Region gave the key", Err: said}
	}
	return nil
}

func isFinal(err error) bool { return turret.Classify(err) == turret.Permanent }

// regionsError is what Regions said that did not give the key.
type regionsError struct {
	places []string
	errs   []error
}

func (e *regionsError) Error() string {
	var b strings.Builder
	for i, err := range e.errs {
		fmt.Fprintf(&b, "%s%s: %v", [...]string{"", "; "}[min(i, 1)], e.places[i], err)
	}
	return b.String()
}

func (e *regionsError) Unwrap() []error { return e.errs }

// Class is that of the most hopeful Region: see [turret.Hopeful].
func (e *regionsError) Class() turret.Class {
	var classes []turret.Class
	for _, err := range e.errs {
		classes = append(classes, turret.Classify(err))
	}
	return turret.Hopeful(classes...)
}

// RetryAfter is the soonest that any asked for: see [turret.Soonest].
func (e *regionsError) RetryAfter() (time.Duration, bool) { return turret.Soonest(e.errs...) }
