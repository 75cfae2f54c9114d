package middleware_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/layertest"
)

var seed = flag.Uint64("seed", 0, "seed of the first random stack, each one's being one more; 0 draws one")

// kind is a kind of layer that random stacks are made of.
type kind struct {
	name string
	make func(r *rand.Rand) layer
	errs []error // those of its own that it ends calls with
}

// Whatever layers are stacked, in whatever order, over whatever happens below:
// every call returns exactly once, no later than its deadline or its cancel, with
// a value that the service produced for it, an error that errors.Is finds, or the
// panic from below.
// Afterwards no goroutine, no permit and no timer is left.
func TestRandomStacks(t *testing.T) {
	first, stacks := *seed, uint64(10_000)
	if first == 0 {
		first = rand.Uint64()
	}
	if testing.Short() {
		stacks = 500
	}
	for s := first; s != first+stacks; s++ {
		if wrong := try(t, s, kinds); wrong != nil {
			t.Fatalf("seed %d: %v\n\nto see it again: go test -run %s -seed %d", s, wrong, t.Name(), s)
		}
	}
}

// try makes a stack of kinds, uses it, and returns what is wrong with it.
func try(t *testing.T, seed uint64, kinds []kind) (wrong error) {
	var desc string
	defer func() {
		if deadlock := recover(); deadlock != nil && wrong == nil {
			wrong = fmt.Errorf("%v", deadlock)
		}
		if wrong != nil {
			wrong = fmt.Errorf("%w\nin the stack\n%s", wrong, desc)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 0))
		below := &faulty{seed: seed}
		stack, errs := random(r, kinds, below)
		desc = turret.Describe(stack)
		goroutines := runtime.NumGoroutine()

		calls := startCalls(r, stack)
		defer func() {
			for _, c := range calls {
				c.cancel()
			}
			if wrong != nil {
				<-time.After(1000 * time.Hour) // what was left behind may end
			}
		}()
		wrong = errors.Join(
			awaitCalls(calls, below, errs),
			below.contextsEnded(),
			recovers(stack, below),
			turret.Close(stack),
		)
		if synctest.Wait(); runtime.NumGoroutine() > goroutines {
			layertest.NoGoroutineLeft(finder{t, &wrong})
		}
	})
	return wrong
}

// finder is a testing.TB that keeps what it is told.
type finder struct {
	testing.TB
	wrong *error
}

func (f finder) Helper() {}
func (f finder) Errorf(format string, args ...any) {
	*f.wrong = errors.Join(*f.wrong, fmt.Errorf(format, args...))
}

// random stacks up to six layers, and returns what errors they have.
func random(r *rand.Rand, kinds []kind, below service) (stack service, errs []error) {
	b := turret.NewBuilder[int, int]()
	for range 1 + r.IntN(6) {
		k := kinds[r.IntN(len(kinds))]
		b = b.Use(k.make(r))
		errs = append(errs, k.errs...)
	}
	return b.Service(below), errs
}

// call is a call through a stack, and how it ended.
type call struct {
	req    int
	ctx    context.Context
	cancel context.CancelFunc
	until  time.Time     // when ctx is done at the latest
	done   chan struct{} // closed when it ended; a second end would panic

	at       time.Time
	resp     int
	err      error
	returned bool
	panicked any
}

type callKey struct{}

// startCalls makes some calls at random times, with random deadlines and cancels.
func startCalls(r *rand.Rand, stack service) (calls []*call) {
	for req := range 1 + r.IntN(8) {
		c := &call{req: req, done: make(chan struct{})}
		begin := upTo(r, time.Second)
		end := begin + upTo(r, time.Minute)
		c.ctx, c.cancel = context.WithTimeout(context.Background(), end)
		if r.IntN(4) == 0 {
			cancel := begin + upTo(r, 10*time.Second)
			time.AfterFunc(cancel, c.cancel)
			end = min(end, cancel)
		}
		c.until = time.Now().Add(end)
		calls = append(calls, c)
		go func() {
			<-time.After(begin)
			c.make(stack)
		}()
	}
	return calls
}

func (c *call) make(stack service) {
	defer close(c.done)
	defer func() {
		if !c.returned {
			c.panicked = recover()
		}
		c.at = time.Now()
	}()
	c.resp, c.err = stack.Call(context.WithValue(c.ctx, callKey{}, c), c.req)
	c.returned = true
}

// awaitCalls waits for all calls, and returns what is wrong with their ends.
func awaitCalls(calls []*call, below *faulty, errs []error) (wrong error) {
	tooLate := time.After(time.Hour)
	for _, c := range calls {
		select {
		case <-c.done:
			wrong = errors.Join(wrong, c.judge(below, errs))
		case <-tooLate:
			return fmt.Errorf("call %d never returned", c.req)
		}
	}
	synctest.Wait()
	return wrong
}

func (c *call) judge(below *faulty, errs []error) error {
	made := below.made(c.req)
	switch {
	case c.at.After(c.until):
		return fmt.Errorf("call %d returned %v after its context was done", c.req, c.at.Sub(c.until))
	case !c.returned && c.panicked == nil && made.exits:
		return nil
	case !c.returned && c.panicked != nil && c.panicked == made.panicked:
		return nil
	case !c.returned:
		return fmt.Errorf("call %d ended with a panic of nobody's: %v", c.req, c.panicked)
	case c.err == nil && made.values[c.resp]:
		return nil
	case c.err == nil:
		return fmt.Errorf("call %d returned %d, which the service did not make for it", c.req, c.resp)
	case c.ctx.Err() != nil && errors.Is(c.err, c.ctx.Err()):
		return nil
	}
	for _, err := range append(errs, made.errs...) {
		if errors.Is(c.err, err) {
			return nil
		}
	}
	return fmt.Errorf("call %d returned an error of nobody's: %w", c.req, c.err)
}

// recovers checks that the stack serves again when the service is well, as one
// that has lost its permits, or its locks, would not.
func recovers(stack service, below *faulty) error {
	below.heal()
	var last error
	for tries, served := 0, 0; served < 3; tries++ {
		if tries == 20 {
			return fmt.Errorf("the service is well again, and 20 calls later the stack is not: %w", last)
		}
		<-time.After(time.Minute)
		if last = callOnce(stack); last == nil {
			served++
		} else {
			served = 0
		}
	}
	return nil
}

func callOnce(stack service) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := stack.Call(ctx, -1)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Hour):
		return errors.New("a call never returned")
	}
}

// faulty is the service below: what becomes of a call is random, and the same
// for the same seed.
type faulty struct {
	seed uint64

	mu     sync.Mutex
	well   bool
	calls  map[int]*madeFor // by request
	below  []context.Context
	values int
}

// madeFor is what the service produced for a request.
type madeFor struct {
	random   *rand.Rand
	values   map[int]bool
	errs     []error
	panicked any
	exits    bool
}

// fault is an error of the service.
type fault struct {
	class turret.Class
	after time.Duration
}

func (f *fault) Error() string                     { return f.class.String() + " fault" }
func (f *fault) Class() turret.Class               { return f.class }
func (f *fault) RetryAfter() (time.Duration, bool) { return f.after, f.after > 0 }

func (f *faulty) Call(ctx context.Context, req int) (int, error) {
	delay, end := f.next(ctx, req)
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return end()
}

// next draws what becomes of the next call for a request.
func (f *faulty) next(ctx context.Context, req int) (delay time.Duration, end func() (int, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.below = append(f.below, ctx)
	if f.well {
		return 0, func() (int, error) { return req, nil }
	}
	m := f.of(req)
	if m.random.IntN(3) == 0 {
		delay = upTo(m.random, 20*time.Second)
	}
	switch m.random.IntN(10) {
	case 0:
		m.panicked = m
		return delay, func() (int, error) { panic(m) }
	case 1:
		m.exits = true
		return delay, func() (int, error) { runtime.Goexit(); return 0, nil }
	case 2, 3, 4, 5:
		err := &fault{class: turret.Class(m.random.IntN(6))}
		if m.random.IntN(4) == 0 {
			err.after = upTo(m.random, 10*time.Second)
		}
		m.errs = append(m.errs, err)
		return delay, func() (int, error) { return 0, err }
	case 6:
		return 24 * time.Hour, func() (int, error) { return 0, errors.New("hung") }
	default:
		f.values++
		value := f.values
		m.values[value] = true
		return delay, func() (int, error) { return value, nil }
	}
}

// of returns what was made for a request, with mu held.
func (f *faulty) of(req int) *madeFor {
	m := f.calls[req]
	if m == nil {
		m = &madeFor{random: rand.New(rand.NewPCG(f.seed, uint64(req+1))), values: make(map[int]bool)}
		if f.calls == nil {
			f.calls = make(map[int]*madeFor)
		}
		f.calls[req] = m
	}
	return m
}

func (f *faulty) made(req int) *madeFor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of(req)
}

func (f *faulty) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.well = true
}

// contextsEnded checks that every context that a layer made has ended, and its
// timer with it, although the caller's own context may live. It is called when
// all calls have returned.
func (f *faulty) contextsEnded() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ctx := range f.below {
		c, ok := ctx.Value(callKey{}).(*call)
		if ok && ctx.Done() != c.ctx.Done() && ctx.Done() != nil && ctx.Err() == nil {
			return fmt.Errorf("call %d returned, and a context that was made for it, and its timer, live on", c.req)
		}
	}
	return nil
}

// The property must not hold for what is wrong. Each of these layers is found,
// among good ones, in a few hundred stacks.
func TestRandomStacksFindBadLayers(t *testing.T) {
	around := func(call func(ctx context.Context, req int, next service) (int, error)) func(*rand.Rand) layer {
		return func(*rand.Rand) layer { return turret.LayerFunc("bad", call) }
	}
	for _, bad := range []kind{
		{name: "makes up values", make: around(func(ctx context.Context, req int, next service) (int, error) {
			resp, err := next.Call(ctx, req)
			return resp + 1000, err
		})},
		{name: "loses errors", make: around(func(ctx context.Context, req int, next service) (int, error) {
			resp, err := next.Call(ctx, req)
			if err != nil {
				err = errors.New(err.Error())
			}
			return resp, err
		})},
		{name: "ignores its context", make: around(func(ctx context.Context, req int, next service) (int, error) {
			return next.Call(context.WithoutCancel(ctx), req)
		})},
		{name: "forgets a timer", make: around(func(ctx context.Context, req int, next service) (int, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			context.AfterFunc(ctx, cancel)
			return next.Call(ctx, req)
		})},
		{name: "forgets a goroutine", make: around(func(ctx context.Context, req int, next service) (int, error) {
			go func() { <-time.After(100 * time.Hour) }()
			return next.Call(ctx, req)
		})},
		{name: "panics", make: around(func(ctx context.Context, req int, next service) (int, error) {
			if req == 1 {
				panic("bad")
			}
			return next.Call(ctx, req)
		})},
		{name: "keeps a permit", make: func(*rand.Rand) layer {
			return func(next service) service {
				places := make(chan struct{}, 1)
				return turret.ServiceFunc[int, int](func(ctx context.Context, req int) (int, error) {
					select {
					case places <- struct{}{}:
					case <-ctx.Done():
						return 0, ctx.Err()
					}
					resp, err := next.Call(ctx, req)
					<-places
					return resp, err
				})
			}
		}},
	} {
		t.Run(bad.name, func(t *testing.T) {
			for s := range uint64(300) {
				if wrong := try(t, s, append([]kind{bad}, kinds...)); wrong != nil {
					t.Logf("found at seed %d: %v", s, wrong)
					return
				}
			}
			require.Fail(t, "not found")
		})
	}
}
