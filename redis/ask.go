package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// caller calls Redis, once at a time.
type caller struct {
	timeout time.Duration
	running context.Context // until Close
	stop    context.CancelFunc
	calling chan struct{} // holds an item while a call is under way
}

func newCaller(timeout time.Duration) caller {
	running, stop := context.WithCancel(context.Background())
	return caller{timeout, running, stop, make(chan struct{}, 1)}
}

// ask returns in time, even where call does not: then there is no other call
// before that one has come back, and what it brings is lost.
func ask[T any](c *caller, call func(context.Context) (T, error)) (none T, err error) {
	late := fmt.Errorf("fleet: no answer from Redis in %v", c.timeout)
	ctx, cancel := context.WithTimeoutCause(c.running, c.timeout, late)
	defer cancel()
	select {
	case c.calling <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("%w, and an earlier call has not come back", late)
	}
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		defer func() { <-c.calling }()
		value, err := call(ctx)
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		if errors.Is(a.err, context.DeadlineExceeded) || errors.Is(a.err, os.ErrDeadlineExceeded) {
			return none, fmt.Errorf("%w (%w)", late, a.err)
		}
		return a.value, a.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// said is an error whose text may be Redis's: no more of it than one wants in a
// log, and nothing that a terminal obeys.
type said struct{ error }

func (s said) Error() string { return "fleet: Redis: " + quote(s.error) }
func (s said) Unwrap() error { return s.error }

const mostSaid = 200 // bytes

func quote(what any) string {
	text := fmt.Sprint(what)
	if len(text) > mostSaid {
		return strconv.Quote(text[:mostSaid]) + "…"
	}
	return strconv.Quote(text)
}
