// Package logging writes a log/slog record about each call: which attempt it
// was, how long it took, how it ended and what that means.
//
//	level=WARN msg="call failed" layer=kms attempt=2 duration=31ms class=throttled
//
// A record never has the request or the response in it: around a signer, that is
// the message, its digest and the signature. It has no error's text either,
// unless Options.ErrorText says so, for texts quote requests: a URL, a line that
// did not parse. What a layer has to say for certain is the error's class.
//
// A call that failed is logged at level Warn. One that succeeded is logged at
// Debug, and so is one whose caller has gone: that says nothing of the service,
// and where calls are hedged it is what happens to every loser. A success slower
// than Options.Slow is worth a warning.
//
// In a stack a logging layer goes wherever one wants to look. At the top it
// tells how calls ended for their callers, below a retry how each attempt did:
//
//	logging "signer" → timeout → retry → logging "kms" → breaker → timeout → service
//
// Below a breaker it is quiet while that is open; above, every refusal is a
// warning. An Instrument function of signer.Builder puts one around each layer.
//
// What layers do between calls, such as a retry's waits, a breaker's changes or a
// replica's going away, [Hooks] logs.
package logging

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/turretgo/turret"
)

// Options configure a logging layer. The zero Options are ready to use.
type Options struct {
	// Logger gets the records. Nil is slog.Default(), as it is at each call.
	Logger *slog.Logger

	// Name says what is logged, such as the name of the layer or service below.
	// It is the attribute "layer" of each record; without one there is none.
	Name string

	// Success is the level of calls that succeeded, and of those whose caller
	// has gone. Nil is slog.LevelDebug. A *slog.LevelVar changes while calls run.
	Success slog.Leveler

	// Failure is the level of calls that failed, and of slow ones. Nil is
	// slog.LevelWarn.
	Failure slog.Leveler

	// Slow is how long a call may take before its success is logged at level
	// Failure. 0 means as long as it likes.
	Slow time.Duration

	// ErrorText, if set, returns what a record tells of an error beside its
	// class, as the attribute "error". Where the service's errors are known to
	// quote nothing that is secret, error.Error tells all.
	ErrorText func(err error) string

	// Attrs, if set, returns attributes to add to a record: what is in ctx and
	// the handler does not know of, such as a tenant. It is called for records
	// that are written, and not for others.
	Attrs func(ctx context.Context) []slog.Attr
}

// Validate says what is wrong with o, if anything is.
func (o Options) Validate() error {
	if o.Slow < 0 {
		return fmt.Errorf("logging: Slow is %v; it is how long a call may take before it is logged as slow, or 0 for as long as it likes", o.Slow)
	}
	return nil
}

// Layer logs as o says. It panics with Validate's error if o is invalid.
//
// While neither of the two levels is enabled, a call costs a look at them. The
// layer changes nothing: requests, responses, errors and panics pass through.
// It has no state.
func Layer[Req, Resp any](o Options) turret.Layer[Req, Resp] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	if o.Success == nil {
		o.Success = slog.LevelDebug
	}
	if o.Failure == nil {
		o.Failure = slog.LevelWarn
	}
	return func(next turret.Service[Req, Resp]) turret.Service[Req, Resp] {
		return &service[Req, Resp]{next, o, []any{next}}
	}
}

type service[Req, Resp any] struct {
	next  turret.Service[Req, Resp]
	o     Options
	below []any
}

func (s *service[Req, Resp]) Call(ctx context.Context, req Req) (resp Resp, err error) {
	logger := s.o.logger()
	if !logger.Enabled(ctx, s.o.Failure.Level()) && !logger.Enabled(ctx, s.o.Success.Level()) {
		return s.next.Call(ctx, req)
	}
	start, returned := time.Now(), false
	defer func() { s.o.record(ctx, logger, start, returned, err) }()
	resp, err = s.next.Call(ctx, req)
	returned = true
	return resp, err
}

func (s *service[Req, Resp]) String() string { return s.o.String() }
func (s *service[Req, Resp]) Unwrap() []any  { return s.below }

func (o Options) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.Default()
}

// String is the layer's line in turret.Describe.
func (o Options) String() string {
	line := "logging"
	if o.Name != "" {
		line += " " + o.Name
	}
	if o.Slow > 0 {
		line += fmt.Sprintf(", slow from %v", o.Slow)
	}
	return line
}
