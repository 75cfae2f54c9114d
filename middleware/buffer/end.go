package buffer

// clone adds a stream, unless b, from which it is cloned, is closed.
func (w *worker[Req, Resp]) clone(b *Buffer[Req, Resp]) *Buffer[Req, Resp] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !b.closed {
		w.streams++
	}
	return &Buffer[Req, Resp]{worker: w, line: b.line, below: b.below, closed: b.closed}
}

// closeStream closes b, and reports whether it was the last one.
func (w *worker[Req, Resp]) closeStream(b *Buffer[Req, Resp]) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.closed {
		return b.last
	}
	b.closed = true
	w.streams--
	b.last = w.streams == 0
	if b.last {
		w.refuse()
	}
	return b.last
}

// drain has the worker end when it has served all who are in line.
func (w *worker[Req, Resp]) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse()
}

// abort has the worker end when the handler returns.
func (w *worker[Req, Resp]) abort(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop(&ClosedError{Cause: cause})
}

// refuse lets nobody in any more.
func (w *worker[Req, Resp]) refuse() {
	if w.refusal == nil {
		w.refusal = &ClosedError{}
		w.wake()
	}
}

// stop lets nobody in any more, nor wait.
func (w *worker[Req, Resp]) stop(why *ClosedError) {
	if !isClosed(w.stopped) {
		w.refusal = why
		close(w.stopped)
		w.wake()
	}
}

func (w *worker[Req, Resp]) ready(b *Buffer[Req, Resp]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refuses(b)
}
