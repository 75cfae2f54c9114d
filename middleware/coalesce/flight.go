package coalesce

import (
	"context"
	"runtime"
)

// flight is a shared call. What it ended with is written before it landed, and
// read after.
type flight[Resp any] struct {
	waiting int // callers; guarded by the service's mu
	cancel  context.CancelCauseFunc
	landed  chan struct{}

	resp     Resp
	err      error
	returned bool
	panicked any
}

// run lets no panic out: in a goroutine of ours it would end the program.
func (f *flight[Resp]) run(call func() (Resp, error)) {
	defer func() {
		if !f.returned {
			f.panicked = recover()
		}
	}()
	f.resp, f.err = call()
	f.returned = true
}

// result ends as the call did: it returns, panics, or exits the goroutine.
func (f *flight[Resp]) result() (Resp, error) {
	switch {
	case f.panicked != nil:
		panic(f.panicked)
	case !f.returned:
		runtime.Goexit()
	}
	return f.resp, f.err
}
