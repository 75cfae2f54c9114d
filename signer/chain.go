package signer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/turretgo/turret"
)

// Chain returns a provider that asks ps in turn, and gives the key of the first
// that has one. Any error moves it on to the next.
//
// Each provider has its share of the time that is left: with a deadline nine
// seconds away and three providers, the first has three. One that hangs uses up
// its own share, not the chain's. The error of a chain in which none has a key
// says what each one said.
func Chain(ps ...KeyProvider) KeyProvider {
	ps = slices.Clone(ps)
	return KeyProviderFunc(func(ctx context.Context) (Key, error) {
		if len(ps) == 0 || slices.ContainsFunc(ps, func(p KeyProvider) bool { return isNil(p) }) {
			return nil, &Error{Reason: "Chain needs at least one key provider and no nil ones"}
		}
		failed := &chainError{}
		for i, p := range ps {
			key, err := provideWithin(ctx, p, len(ps)-i)
			if err == nil && !isNil(key) {
				return key, nil
			}
			if err == nil {
				err = &Error{Reason: "the provider gave neither a key nor an error"}
			}
			failed.errs = append(failed.errs, err)
			failed.classes = append(failed.classes, turret.Outcome(ctx, err))
			if ctx.Err() != nil {
				break
			}
		}
		return nil, failed
	})
}

// provideWithin asks p within its share of the time left, where shares providers
// are still to be asked.
func provideWithin(ctx context.Context, p KeyProvider, shares int) (Key, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(shares))
		defer cancel()
	}
	return p.ProvideKey(ctx)
}

type chainError struct {
	errs    []error
	classes []turret.Class
}

func (e *chainError) Error() string {
	var b strings.Builder
	b.WriteString("signer: no provider of the chain has a key")
	for i, err := range e.errs {
		fmt.Fprintf(&b, "; provider %d: %v", i+1, err)
	}
	return b.String()
}

func (e *chainError) Unwrap() []error { return e.errs }

// Class is that of the most hopeful provider: see [turret.Hopeful].
func (e *chainError) Class() turret.Class { return turret.Hopeful(e.classes...) }
