package buffer

import "log/slog"

// State returns how many requests are in the worker's queue, how many wait outside
// for room in it, and whether the handler is at one, for [turret.Inspect].
func (b *Buffer[Req, Resp]) State() slog.Attr {
	w := b.worker
	w.mu.Lock()
	queue, outside, busy := w.queue.Len(), w.outside.Len(), w.busy > 0
	w.mu.Unlock()
	return slog.Group("buffer",
		slog.Int64("queue", int64(queue)),
		slog.Int64("waiting_for_room", int64(outside)),
		slog.Bool("busy", busy),
	)
}
