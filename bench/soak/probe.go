package soak

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/timeout"
	"github.com/turretgo/turret/signer"
)

// Attempts are calls of a key by what the KMS answered, told from the errors
// themselves and not by their class, which is what is to be checked.
type Attempts struct {
	OK, Corrupt, Throttled, Internal, Unavailable, Reset uint64

	TimedOut uint64 // ended by a timeout of the stack
	Canceled uint64 // ended by the caller, by a hedge that won, or by Close
	Other    uint64 // none of these, which should not be
}

// Answered is how many attempts the KMS has answered in one way or another.
func (a Attempts) Answered() uint64 {
	return a.OK + a.Corrupt + a.Throttled + a.Internal + a.Unavailable + a.Reset
}

// Ended is how many have been ended from above.
func (a Attempts) Ended() uint64 { return a.TimedOut + a.Canceled }

// All is how many there were.
func (a Attempts) All() uint64 { return a.Answered() + a.Ended() + a.Other }

// A probe sees the attempts at one key, just above it.
type probe struct {
	inFlight atomic.Int64

	mu       sync.Mutex
	attempts Attempts
	other    error // the first of those
}

func (p *probe) layer() signer.Layer {
	return turret.LayerFunc("probe", func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
		p.inFlight.Add(1)
		defer p.inFlight.Add(-1)
		resp, err := next.Call(ctx, req)
		p.record(ctx, err)
		return resp, err
	})
}

func (p *probe) record(ctx context.Context, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := p.attempts.of(ctx, err)
	if *count++; count == &p.attempts.Other && p.other == nil {
		p.other = err
	}
}

// of returns the count that an attempt belongs to.
func (a *Attempts) of(ctx context.Context, err error) *uint64 {
	if err == nil {
		return &a.OK
	}
	if errors.Is(err, signer.ErrBadSignature) {
		return &a.Corrupt
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		switch api.ErrorCode() {
		case "ThrottlingException":
			return &a.Throttled
		case "KMSInternalException":
			return &a.Internal
		}
	}
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && resp.HTTPStatusCode() == 503 {
		return &a.Unavailable
	}
	switch {
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return &a.Reset
	case timeout.Expired(ctx):
		return &a.TimedOut
	case ctx.Err() != nil:
		return &a.Canceled
	}
	return &a.Other
}

// mishaps is a layer with a bug: now and then it panics, before or after the key
// was asked.
type mishaps struct {
	calls, panicked, recovered atomic.Int64
}

// every is of how many attempts one panics.
const every = 499

var errMishap = errors.New("soak: a layer has a bug")

func (m *mishaps) layer() signer.Layer {
	return turret.LayerFunc("mishaps", func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
		n := m.calls.Add(1)
		if n%every == 0 {
			m.panicked.Add(1)
			if n/every%2 == 0 {
				_, _ = next.Call(ctx, req) // and the answer is lost
			}
			panic(errMishap)
		}
		return next.Call(ctx, req)
	})
}
