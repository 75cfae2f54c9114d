package logging

import (
	"context"
	"log/slog"
	"time"

	"github.com/turretgo/turret"
)

// record logs a call that began at start. It ended with err, or, if it has not
// returned, with a panic or a runtime.Goexit that is on its way up.
func (o *Options) record(ctx context.Context, logger *slog.Logger, start time.Time, returned bool, err error) {
	if returned && err == nil && o.Slow == 0 && !logger.Enabled(ctx, o.Success.Level()) {
		return // without a look at the clock
	}
	took := time.Since(start)
	level, text, class := o.Failure.Level(), "call failed", turret.Unknown
	switch {
	case !returned:
		text = "call panicked or exited"
	case err != nil:
		if class = turret.Outcome(ctx, err); class == turret.Canceled {
			level, text = o.Success.Level(), "call canceled"
		}
	case o.Slow > 0 && took >= o.Slow:
		text = "call was slow"
	default:
		level, text = o.Success.Level(), "call succeeded"
	}
	if !logger.Enabled(ctx, level) {
		return
	}

	attrs := make([]slog.Attr, 0, 8)
	if o.Name != "" {
		attrs = append(attrs, slog.String("layer", o.Name))
	}
	attrs = append(attrs, slog.Int("attempt", turret.Attempt(ctx)), slog.Duration("duration", took))
	if err != nil {
		attrs = append(attrs, slog.String("class", class.String()))
		if o.ErrorText != nil { // a text, for of an error itself a handler might print every field
			attrs = append(attrs, slog.String("error", o.ErrorText(err)))
		}
	}
	if o.Attrs != nil {
		attrs = append(attrs, o.Attrs(ctx)...)
	}
	logger.LogAttrs(ctx, level, text, attrs...)
}
