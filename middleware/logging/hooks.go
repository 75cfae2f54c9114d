package logging

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/balance"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/failover"
	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
)

// Hooks logs what other layers have to say through their hooks:
//
//	hooks := logging.Hooks{Name: "web"}
//	retry.Options{OnRetry: hooks.Retry}
//	hedge.Options{OnHedge: hooks.Hedge, OnWin: hooks.HedgeWon}
//	ratelimit.Options{OnWait: hooks.RateLimit}
//	concurrency.Options{OnWait: hooks.Concurrency}
//	gobreaker.Settings{OnStateChange: hooks.Breaker}
//	failover.Options{OnFailover: hooks.Failover, OnChange: hooks.Replica}
//	balance.Options{OnChange: hooks.Member}
//	reconnect.Options{OnBroken: hooks.Broken}
//
// As the layer, it writes no request, and of an error its class alone, unless
// ErrorText is set. The zero Hooks are ready to use, by any number of layers.
type Hooks struct {
	// Logger gets the records. Nil is slog.Default(), as it is at each event.
	Logger *slog.Logger

	// Name is the attribute "layer" of each record; without one there is none.
	Name string

	// Trouble is the level of events that something went wrong. Nil is
	// slog.LevelWarn.
	Trouble slog.Leveler

	// Relief is the level of events that something is well again, and of hedges.
	// Nil is slog.LevelInfo.
	Relief slog.Leveler

	// Slow is how long a call may wait for a token or a place before that is
	// worth a record. 0 means that refusals alone are.
	Slow time.Duration

	// ErrorText, if set, returns what a record tells of an error beside its class.
	ErrorText func(err error) string
}

// Retry is a retry.Options.OnRetry.
func (h Hooks) Retry(ctx context.Context, e retry.Event) {
	h.trouble(ctx, "retry", e.Err, slog.Int("attempt", e.Attempt), slog.String("class", e.Class.String()), slog.Duration("delay", e.Delay))
}

// Hedge is a hedge.Options.OnHedge.
func (h Hooks) Hedge(ctx context.Context, e hedge.Event) {
	h.relief(ctx, "hedge sent", slog.Int("hedge", e.Hedge), slog.Duration("after", e.After))
}

// HedgeWon is a hedge.Options.OnWin.
func (h Hooks) HedgeWon(ctx context.Context, e hedge.Event) {
	h.relief(ctx, "hedge won", slog.Int("hedge", e.Hedge), slog.Duration("after", e.After))
}

// RateLimit is a ratelimit.Options.OnWait.
func (h Hooks) RateLimit(ctx context.Context, w ratelimit.Wait) {
	what := "rate limit"
	if w.Err != nil && !errors.Is(w.Err, ratelimit.ErrLimited) {
		what = "below the rate limit" // such as by a breaker, which it asks first
	}
	h.wait(ctx, what, w.Waited, w.Err)
}

// Concurrency is a concurrency.Options.OnWait.
func (h Hooks) Concurrency(ctx context.Context, w concurrency.Wait) {
	h.wait(ctx, "concurrency", w.Waited, w.Err)
}

func (h Hooks) wait(ctx context.Context, what string, waited time.Duration, err error) {
	switch {
	case err != nil && turret.Outcome(ctx, err) == turret.Canceled:
	case err != nil:
		h.trouble(ctx, what+": call refused", err, slog.Duration("waited", waited), slog.String("class", turret.Outcome(ctx, err).String()))
	case h.Slow > 0 && waited >= h.Slow:
		h.trouble(ctx, what+": call waited", nil, slog.Duration("waited", waited))
	}
}

// Breaker is the OnStateChange of a breaker's settings.
func (h Hooks) Breaker(name string, from, to gobreaker.State) {
	attrs := []slog.Attr{slog.String("breaker", name), slog.String("from", from.String()), slog.String("to", to.String())}
	if to == gobreaker.StateOpen {
		h.trouble(context.Background(), "breaker opened", nil, attrs...)
		return
	}
	h.relief(context.Background(), "breaker changed", attrs...)
}

// Failover is a failover.Options.OnFailover.
func (h Hooks) Failover(ctx context.Context, e failover.Event) {
	h.trouble(ctx, "failover", e.Err, slog.String("from", e.From), slog.String("to", e.To), slog.String("class", e.Class.String()))
}

// Replica is a failover.Options.OnChange.
func (h Hooks) Replica(c failover.Change) {
	if c.Away {
		h.trouble(context.Background(), "replica is away", c.Err, slog.String("replica", c.Name))
		return
	}
	h.relief(context.Background(), "replica is back", slog.String("replica", c.Name))
}

// Member is a balance.Options.OnChange.
func (h Hooks) Member(e balance.Event) {
	if e.Out > 0 {
		h.trouble(context.Background(), "member on probation", e.Err, slog.String("member", e.Name), slog.Duration("for", e.Out))
		return
	}
	h.relief(context.Background(), "member is back", slog.String("member", e.Name))
}

// Broken is a reconnect.Options.OnBroken.
func (h Hooks) Broken(ctx context.Context, err error) {
	h.trouble(ctx, "connection broken", err, slog.String("class", turret.Outcome(ctx, err).String()))
}

func (h Hooks) trouble(ctx context.Context, text string, err error, attrs ...slog.Attr) {
	if err != nil && h.ErrorText != nil {
		attrs = append(attrs, slog.String("error", h.ErrorText(err)))
	}
	h.log(ctx, level(h.Trouble, slog.LevelWarn), text, attrs)
}

func (h Hooks) relief(ctx context.Context, text string, attrs ...slog.Attr) {
	h.log(ctx, level(h.Relief, slog.LevelInfo), text, attrs)
}

func (h Hooks) log(ctx context.Context, l slog.Level, text string, attrs []slog.Attr) {
	if h.Name != "" {
		attrs = append([]slog.Attr{slog.String("layer", h.Name)}, attrs...)
	}
	Options{Logger: h.Logger}.logger().LogAttrs(ctx, l, text, attrs...)
}

func level(l slog.Leveler, otherwise slog.Level) slog.Level {
	if l == nil {
		return otherwise
	}
	return l.Level()
}
