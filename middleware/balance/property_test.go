package balance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

// model does random things to a balancer, and knows how it must look after each.
type model struct {
	*Balancer[*modelCall, string]
	rng     *rand.Rand
	names   []string        // of the members, in their order
	made    int             // members so far, of whom each has a number
	removed map[string]bool // by their numbers
	ended   map[string]int  // what OnRemoved was told
	calls   []*modelCall    // under way
}

type modelCall struct {
	end    chan error
	to     string // number of the member
	cancel context.CancelFunc
	done   chan struct{}
}

func newModel(seed uint64) *model {
	m := &model{rng: rand.New(rand.NewPCG(seed, seed)), removed: map[string]bool{}, ended: map[string]int{}}
	m.Balancer = New[*modelCall, string](Options{
		Load:      Load(m.rng.IntN(2)),
		Failures:  1 + m.rng.IntN(3),
		OnRemoved: func(_ string, member any) { m.ended[member.(*modelMember).number]++ },
	})
	return m
}

type modelMember struct {
	rng    *rand.Rand
	number string
}

func (m *modelMember) Call(ctx context.Context, call *modelCall) (string, error) {
	call.to = m.number
	select {
	case err := <-call.end:
		return m.number, err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (m *modelMember) Ready() error {
	if m.rng.IntN(10) == 0 {
		return errors.New("not ready")
	}
	return nil
}

func (m *model) step(t *testing.T) {
	switch p := m.rng.IntN(100); {
	case p < 6:
		m.insert(t)
	case p < 11:
		m.remove(t)
	case p < 50 && len(m.calls) < 20:
		m.call(t)
	case p < 90:
		m.finish(t)
	default:
		<-time.After(time.Duration(m.rng.ExpFloat64() * float64(200*time.Millisecond)))
	}
}

func (m *model) insert(t *testing.T) {
	name := fmt.Sprint("m", m.rng.IntN(8))
	old := m.find(name)
	m.made++
	m.Insert(name, &modelMember{m.rng, fmt.Sprint(m.made)})
	if old != nil {
		m.removed[old.below.(*modelMember).number] = true
		return
	}
	m.names = append(m.names, name)
}

func (m *model) remove(t *testing.T) {
	name := fmt.Sprint("m", m.rng.IntN(8))
	old := m.find(name)
	require.Equal(t, old != nil, m.Remove(name))
	if old != nil {
		m.removed[old.below.(*modelMember).number] = true
		i := 0
		for m.names[i] != name {
			i++
		}
		m.names = append(m.names[:i:i], m.names[i+1:]...)
	}
}

func (m *model) call(t *testing.T) {
	c := &modelCall{end: make(chan error, 1), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	c.cancel = cancel
	returned := make(chan error, 1)
	go func() {
		defer close(c.done)
		_, err := m.Call(ctx, c)
		returned <- err
	}()
	synctest.Wait()
	if len(m.names) == 0 {
		require.Equal(t, ErrNoMembers, <-returned)
		c.cancel()
		return
	}
	require.False(t, m.removed[c.to], "a removed member was called")
	m.calls = append(m.calls, c)
}

// finish ends a random call in a random way.
func (m *model) finish(t *testing.T) {
	if len(m.calls) == 0 {
		return
	}
	i := m.rng.IntN(len(m.calls))
	c := m.calls[i]
	m.calls = append(m.calls[:i:i], m.calls[i+1:]...)
	switch p := m.rng.IntN(10); {
	case p < 1:
		c.cancel()
	case p < 5: // in a row, for a member of its own kind
		c.end <- turret.WithClass(errors.New("boom"), turret.Class(m.rng.IntN(6)))
	default:
		c.end <- nil
	}
	<-c.done
	c.cancel()
}

// check returns what is wrong. It is called so often that require would be slow.
func (m *model) check() string {
	r := m.roster.Load()
	underWay, in, next := map[string]int64{}, 0, int64(never)
	for _, c := range m.calls {
		underWay[c.to]++
	}
	if len(r.all) != len(m.names) || len(r.below) != len(m.names) ||
		len(m.names) > 0 && !strings.HasSuffix(r.line, strings.Join(m.names, ", ")) {
		return fmt.Sprintf("%s; want %v", r.line, m.names)
	}
	for i, x := range r.all {
		number := x.below.(*modelMember).number
		switch {
		case m.names[i] != x.name || turret.Named(x.name, x.below) != r.below[i]:
			return fmt.Sprintf("member %d is %s; want %s", i, x.name, m.names[i])
		case x.calls.Load() != underWay[number]:
			return fmt.Sprintf("%s has %d calls; want %d", x.name, x.calls.Load(), underWay[number])
		case m.removed[number]:
			return x.name + " was removed"
		case x.out && x.over > m.now()+m.options.MaxProbation:
			return x.name + " is out for longer than the longest probation"
		case x.out:
			next = min(next, int64(x.over))
			continue
		case r.in[in] != x:
			return x.name + " is in, but not to pick from"
		case int(x.failures.Load()) >= m.options.Failures:
			return fmt.Sprintf("%s is in with %d failures", x.name, x.failures.Load())
		}
		in++
	}
	switch {
	case len(r.in) != in:
		return "there are members to pick from that are out"
	case in == 0 && len(r.all) > 0:
		return "nobody is in"
	case m.nextProbe.Load() != next:
		return fmt.Sprintf("the next probe is due at %d; want %d", m.nextProbe.Load(), next)
	}
	for number := range m.removed {
		if (m.ended[number] == 0) != (underWay[number] > 0) {
			return fmt.Sprintf("member %s, removed, has %d calls, and OnRemoved was told %d times", number, underWay[number], m.ended[number])
		}
		if underWay[number] == 0 {
			delete(m.removed, number) // and nothing is to be heard of it again
		}
	}
	for number, times := range m.ended {
		if times != 1 {
			return fmt.Sprintf("OnRemoved was told %d times of %s", times, number)
		}
	}
	return ""
}

func Test100000RandomStepsKeepItConsistent(t *testing.T) {
	const seeds, steps = 20, 5000
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(seed)
			for range steps {
				m.step(t)
				if wrong := m.check(); wrong != "" {
					t.Fatalf("seed %d: %s", seed, wrong)
				}
			}
			for len(m.calls) > 0 {
				m.finish(t)
			}
			require.Empty(t, m.check())
			require.Len(t, m.ended, m.made-len(m.names), "all who were removed have ended")
		})
	}
}
