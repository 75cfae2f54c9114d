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
// ErrorText is set. The zero Hooks are ready to use, by any number of layers. They
// must not be copied after that.
//
// An outage is not to drown the log that is to explain it: of what calls bring
// about, such as retries and refusals, PerSecond records of a kind are written a
// second, and when that is over, one of how many more there were:
//
//	level=WARN msg="records left out" layer=web of="rate limit: call refused" records=4990
//
// That one is logged from a goroutine of its own. Of changes of a state, such as a
// breaker's or a replica's, none is left out.
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

	// PerSecond is how many records of a kind, which is to say with the same
	// message, are written a second. 0 means 10, and less than 0 all.
	PerSecond int

	// ErrorText, if set, returns what a record tells of an error beside its class.
	ErrorText func(err error) string

	allowance allowance
}

const defaultPerSecond = 10

// Retry is a retry.Options.OnRetry.
func (h *Hooks) Retry(ctx context.Context, e retry.Event) {
	h.sample(ctx, h.trouble(), "retry", e.Err, slog.Int("attempt", e.Attempt), slog.String("class", e.Class.String()), slog.Duration("delay", e.Delay))
}

// Hedge is a hedge.Options.OnHedge.
func (h *Hooks) Hedge(ctx context.Context, e hedge.Event) {
	h.sample(ctx, h.relief(), "hedge sent", nil, slog.Int("hedge", e.Hedge), slog.Duration("after", e.After))
}

// HedgeWon is a hedge.Options.OnWin.
func (h *Hooks) HedgeWon(ctx context.Context, e hedge.Event) {
	h.sample(ctx, h.relief(), "hedge won", nil, slog.Int("hedge", e.Hedge), slog.Duration("after", e.After))
}

// RateLimit is a ratelimit.Options.OnWait.
func (h *Hooks) RateLimit(ctx context.Context, w ratelimit.Wait) {
	what := "rate limit"
	if w.Err != nil && !errors.Is(w.Err, ratelimit.ErrLimited) {
		what = "below the rate limit" // such as by a breaker, which it asks first
	}
	h.wait(ctx, what, w.Waited, w.Err)
}

// Concurrency is a concurrency.Options.OnWait.
func (h *Hooks) Concurrency(ctx context.Context, w concurrency.Wait) {
	h.wait(ctx, "concurrency", w.Waited, w.Err)
}

func (h *Hooks) wait(ctx context.Context, what string, waited time.Duration, err error) {
	switch {
	case err != nil && turret.Outcome(ctx, err) == turret.Canceled:
	case err != nil:
		h.sample(ctx, h.trouble(), what+": call refused", err, slog.Duration("waited", waited), slog.String("class", turret.Outcome(ctx, err).String()))
	case h.Slow > 0 && waited >= h.Slow:
		h.sample(ctx, h.trouble(), what+": call waited", nil, slog.Duration("waited", waited))
	}
}

// Breaker is the OnStateChange of a breaker's settings.
func (h *Hooks) Breaker(name string, from, to gobreaker.State) {
	attrs := []slog.Attr{slog.String("breaker", name), slog.String("from", from.String()), slog.String("to", to.String())}
	if to == gobreaker.StateOpen {
		h.log(context.Background(), h.trouble(), "breaker opened", nil, attrs...)
		return
	}
	h.log(context.Background(), h.relief(), "breaker changed", nil, attrs...)
}

// Failover is a failover.Options.OnFailover.
func (h *Hooks) Failover(ctx context.Context, e failover.Event) {
	h.sample(ctx, h.trouble(), "failover", e.Err, slog.String("from", e.From), slog.String("to", e.To), slog.String("class", e.Class.String()))
}

// Replica is a failover.Options.OnChange.
func (h *Hooks) Replica(c failover.Change) {
	if c.Away {
		h.log(context.Background(), h.trouble(), "replica is away", c.Err, slog.String("replica", c.Name))
		return
	}
	h.log(context.Background(), h.relief(), "replica is back", nil, slog.String("replica", c.Name))
}

// Member is a balance.Options.OnChange.
func (h *Hooks) Member(e balance.Event) {
	if e.Out > 0 {
		h.log(context.Background(), h.trouble(), "member on probation", e.Err, slog.String("member", e.Name), slog.Duration("for", e.Out))
		return
	}
	h.log(context.Background(), h.relief(), "member is back", nil, slog.String("member", e.Name))
}

// Broken is a reconnect.Options.OnBroken.
func (h *Hooks) Broken(ctx context.Context, err error) {
	h.sample(ctx, h.trouble(), "connection broken", err, slog.String("class", turret.Outcome(ctx, err).String()))
}

func (h *Hooks) trouble() slog.Level { return level(h.Trouble, slog.LevelWarn) }
func (h *Hooks) relief() slog.Level  { return level(h.Relief, slog.LevelInfo) }

// sample logs what a call brought about, unless that is one too many.
func (h *Hooks) sample(ctx context.Context, l slog.Level, text string, err error, attrs ...slog.Attr) {
	if h.logger().Enabled(ctx, l) && h.admit(l, text) {
		h.log(ctx, l, text, err, attrs...)
	}
}

func (h *Hooks) admit(l slog.Level, text string) bool {
	most := h.PerSecond
	if most == 0 {
		most = defaultPerSecond
	}
	return most < 0 || h.allowance.admit(text, most, func(left int) {
		h.log(context.Background(), l, "records left out", nil, slog.String("of", text), slog.Int("records", left))
	})
}

func (h *Hooks) log(ctx context.Context, l slog.Level, text string, err error, attrs ...slog.Attr) {
	if h.Name != "" {
		attrs = append([]slog.Attr{slog.String("layer", h.Name)}, attrs...)
	}
	if err != nil && h.ErrorText != nil {
		attrs = append(attrs, slog.String("error", h.ErrorText(err)))
	}
	h.logger().LogAttrs(ctx, l, text, attrs...)
}

func (h *Hooks) logger() *slog.Logger { return Options{Logger: h.Logger}.logger() }

func level(l slog.Leveler, otherwise slog.Level) slog.Level {
	if l == nil {
		return otherwise
	}
	return l.Level()
}
