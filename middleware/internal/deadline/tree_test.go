package deadline_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A program grows a tree of contexts, lets time pass and cancels, two bytes a step:
// what to do, and to which context or for how long. It runs on our contexts and on
// the standard library's at once, and both trees must look alike.
func FuzzTreesEndLikeTheStandardLibrarys(f *testing.F) {
	f.Add(false, []byte("d0d0p9"))
	f.Add(true, []byte("d9c1d2p1x1p9"))
	f.Add(true, []byte("d9d1p3x0v1d3"))
	f.Add(false, []byte("c0d1w2d3f2f4p2x1p9"))
	f.Add(false, []byte("d9v1d2v3d4s5p1x3p2x1"))
	f.Add(false, []byte("d5x1d1c2f3s2v2w2c7"))
	f.Fuzz(func(t *testing.T, watched bool, program []byte) {
		if len(program) <= 100 {
			run(t, watched, program)
		}
	})
}

func TestRandomTreesEndLikeTheStandardLibrarys(t *testing.T) {
	const steps = "ddddccvwfsxxpp"
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 0))
		program := make([]byte, 60)
		for i := range program {
			program[i] = byte(random.IntN(20))
			if i%2 == 0 {
				program[i] = steps[random.IntN(len(steps))]
			}
		}
		run(t, seed%2 == 0, program)
		if t.Failed() {
			t.Fatalf("seed %d: %q", seed, program)
		}
	}
}

func run(t *testing.T, watched bool, program []byte) {
	synctest.Test(t, func(t *testing.T) {
		tree := newTree(t.Context())
		defer tree.cancelAll()
		for ; len(program) >= 2; program = program[2:] {
			tree.step(program[0], int(program[1]))
			synctest.Wait()
			if watched {
				tree.requireAlike(t)
			}
		}
		tree.requireEndedAlike(t)
	})
}

// tree is two trees of the same shape, ours and the standard library's.
type tree struct{ ours, theirs []*node }

type node struct {
	context.Context
	cancel func(cause error)
	called *atomic.Int32 // by the AfterFuncs of this node
}

func newTree(root context.Context) *tree {
	none := func(error) {}
	return &tree{[]*node{{root, none, new(atomic.Int32)}}, []*node{{root, none, new(atomic.Int32)}}}
}

func (tr *tree) step(what byte, n int) {
	if what == 'p' {
		<-time.After(time.Duration(n) * time.Second)
		return
	}
	i := n % len(tr.ours)
	// No two deadlines at one instant, of which either may be first.
	d := time.Duration(n)*time.Second + time.Duration(len(tr.ours))
	cause := fmt.Errorf("cause %d of %d", len(tr.ours), i)
	grow(&tr.ours, lazy, what, i, d, cause)
	grow(&tr.theirs, context.WithTimeoutCause, what, i, d, cause)
}

func grow(nodes *[]*node, with maker, what byte, i int, d time.Duration, cause error) {
	on := (*nodes)[i]
	add := func(ctx context.Context, cancel func(error)) {
		*nodes = append(*nodes, &node{ctx, cancel, new(atomic.Int32)})
	}
	switch what {
	case 'd':
		ctx, cancel := with(on, d, cause)
		add(ctx, func(error) { cancel() })
	case 'c':
		add(context.WithCancelCause(on))
	case 'v':
		add(context.WithValue(on, key{}, i), on.cancel)
	case 'w':
		add(context.WithoutCancel(on), func(error) {})
	case 'f':
		context.AfterFunc(on, func() { on.called.Add(1) })
	case 's':
		on.Done()
	case 'x':
		on.cancel(cause)
	}
}

func (tr *tree) cancelAll() {
	for i := range tr.ours {
		tr.ours[i].cancel(nil)
		tr.theirs[i].cancel(nil)
	}
}

// requireAlike requires of trees at which somebody looked after every step that
// nobody can tell one from the other.
func (tr *tree) requireAlike(t *testing.T) {
	for i, ours := range tr.ours {
		theirs := tr.theirs[i]
		require.Equal(t, theirs.Err(), ours.Err(), i)
		require.Equal(t, context.Cause(theirs), context.Cause(ours), i)
		require.Equal(t, theirs.Value(key{}), ours.Value(key{}), i)
		require.Equal(t, theirs.called.Load(), ours.called.Load(), i)
		want, _ := theirs.Deadline()
		got, _ := ours.Deadline()
		require.Equal(t, want, got, i)
	}
}

// requireEndedAlike requires it of any trees, but for which of several ends it was,
// and that each context of ours is in agreement with itself.
func (tr *tree) requireEndedAlike(t *testing.T) {
	for i, ours := range tr.ours {
		theirs := tr.theirs[i]
		err := ours.Err()
		require.Equal(t, theirs.Err() != nil, err != nil, i)
		require.Equal(t, err != nil, context.Cause(ours) != nil, i)
		if ours.Done() == nil {
			require.Nil(t, theirs.Done(), i)
		} else {
			require.Equal(t, err != nil, isDone(ours), i)
		}
		require.Equal(t, err, ours.Err(), i)
		require.Equal(t, theirs.called.Load(), ours.called.Load(), i)
	}
}
