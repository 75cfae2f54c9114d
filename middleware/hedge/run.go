package hedge

import (
	"context"
	"runtime"

	"github.com/turretgo/turret"
)

// result is how a call in a goroutine of its own ended: it returned, panicked,
// or exited the goroutine.
type result[Resp any] struct {
	call     int // 0 for the original, else which hedge
	resp     Resp
	err      error
	returned bool
	panicked any
}

// run calls next and sends the result. It lets no panic out: in a goroutine of
// ours it would end the program.
func run[Req, Resp any](ctx context.Context, next turret.Service[Req, Resp], req Req, call int, results chan<- result[Resp]) {
	res := result[Resp]{call: call}
	defer func() {
		if !res.returned {
			res.panicked = recover()
		}
		results <- res
	}()
	res.resp, res.err = next.Call(ctx, req)
	res.returned = true
}

// end ends as the call did, in the goroutine of the caller.
func (r result[Resp]) end() (Resp, error) {
	switch {
	case r.panicked != nil:
		panic(r.panicked)
	case !r.returned:
		runtime.Goexit()
	}
	return r.resp, r.err
}
