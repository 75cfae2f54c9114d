package soak

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// few are enough to meet every phase, in virtual time.
var few = Options{Signatures: 4000, Rate: 1500, Callers: 512, Phase: 250 * time.Millisecond}

// soaked soaks in a bubble, with a layer on top of each stack. Gate is closed when
// the soak is over, to let go of what the layer holds.
func soaked(t *testing.T, o Options, tamper func(gate <-chan struct{}) signer.Layer) (r *Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		defer close(gate)
		var layer signer.Layer
		if tamper != nil {
			layer = tamper(gate)
		}
		var err error
		r, err = do(t.Context(), o, layer)
		require.NoError(t, err)
	})
	return r
}

// broken are the invariants that do not hold.
func (r *Result) broken() (names []string) {
	for _, c := range r.Checks() {
		if len(c.Broken) > 0 {
			names = append(names, c.Invariant)
		}
	}
	return names
}

func TestStacksAreSoundWhateverTheirKMSDoes(t *testing.T) {
	r := soaked(t, few, nil)
	for _, c := range r.Checks() {
		require.Empty(t, c.Broken, c.Invariant)
	}
	require.True(t, r.Sound())
	require.Len(t, r.Tables(), 3)

	// A soak in which nothing went wrong would prove nothing.
	var all Key
	var panics, recovered, panicked int64
	for _, s := range r.Stacks {
		require.NotZero(t, s.Calls.Failed, s.Name)
		require.LessOrEqual(t, s.Calls.Latest, time.Duration(0), "%s: where computing takes no time, nobody waits beyond their patience", s.Name)
		panics, recovered, panicked = panics+s.Panics, recovered+s.Recovered, panicked+int64(s.Calls.Panicked)
		for _, k := range s.Keys {
			m := k.KMS
			all.KMS.Corrupt += m.Corrupt
			all.KMS.Throttled += m.Throttled
			all.KMS.Internal += m.Internal
			all.KMS.Unavailable += m.Unavailable
			all.KMS.Reset += m.Reset
			all.KMS.Hung += m.Hung
			all.KMS.Canceled += m.Canceled
			all.Attempts.TimedOut += k.Attempts.TimedOut
			all.Attempts.Canceled += k.Attempts.Canceled
		}
	}
	for name, n := range map[string]int{
		"corrupt": all.KMS.Corrupt, "throttled": all.KMS.Throttled, "500": all.KMS.Internal, "503": all.KMS.Unavailable,
		"reset": all.KMS.Reset, "hung": all.KMS.Hung, "canceled": all.KMS.Canceled,
		"attempts timed out": int(all.Attempts.TimedOut), "attempts canceled": int(all.Attempts.Canceled),
		"panics": int(panics), "recovered": int(recovered), "panicked": int(panicked),
	} {
		require.NotZero(t, n, name)
	}
}

// A spoiler makes something else of how a call ended.
type spoiler func(gate <-chan struct{}, resp signer.Response, err error) (signer.Response, error)

// sometimes makes a layer that spoils every tenth call.
func sometimes(spoil spoiler) func(<-chan struct{}) signer.Layer {
	return func(gate <-chan struct{}) signer.Layer {
		var calls atomic.Int64
		return turret.LayerFunc("tamper", func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
			resp, err := next.Call(ctx, req)
			if calls.Add(1)%10 != 0 {
				return resp, err
			}
			return spoil(gate, resp, err)
		})
	}
}

func TestASoakFindsALayerThat(t *testing.T) {
	var mu sync.Mutex
	var kept [][]byte
	o := few
	o.Signatures = 400
	for _, tc := range []struct {
		name  string
		spoil spoiler
		want  string
	}{
		{"SpoilsSignatures", func(_ <-chan struct{}, resp signer.Response, err error) (signer.Response, error) {
			if err == nil {
				resp.Signature[len(resp.Signature)-1] ^= 1
			}
			return resp, err
		}, "no signature is wrong"},
		{"NeverReturns", func(gate <-chan struct{}, resp signer.Response, err error) (signer.Response, error) {
			<-gate
			return resp, err
		}, "every call was answered, once"},
		{"TakesTooLong", func(_ <-chan struct{}, resp signer.Response, err error) (signer.Response, error) {
			<-time.After(longest + slackTime + time.Millisecond)
			return resp, err
		}, "within its patience and 5s"},
		{"LeavesGoroutines", func(gate <-chan struct{}, resp signer.Response, err error) (signer.Response, error) {
			go func() { <-gate }()
			return resp, err
		}, "goroutines are as many as before"},
		{"KeepsMemory", func(_ <-chan struct{}, resp signer.Response, err error) (signer.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, make([]byte, 1<<20))
			return resp, err
		}, "the heap is what it was, and 4 MiB at most"},
		{"PanicsByItself", func(<-chan struct{}, signer.Response, error) (signer.Response, error) {
			panic("oops")
		}, "some were signed, and no error or panic is odd"},
		{"RefusesForGood", func(<-chan struct{}, signer.Response, error) (signer.Response, error) {
			return signer.Response{}, turret.WithClass(errors.New("no"), turret.Permanent)
		}, "Signer.Stats is what the callers got"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := soaked(t, o, sometimes(tc.spoil))
			require.Contains(t, r.broken(), tc.want)
			require.False(t, r.Sound())
		})
	}
	runtime.KeepAlive(kept)
}

// Each count that an invariant is about is off by one, in turn.
func TestACountThatIsOffByOneIsFound(t *testing.T) {
	sound := soaked(t, few, nil)
	require.Empty(t, sound.broken())
	text, err := json.Marshal(sound)
	require.NoError(t, err)
	for i, s := range sound.Stacks {
		for name, spoil := range map[string]func(*Stack){
			"panic":           func(s *Stack) { s.Panics++ },
			"panicked":        func(s *Stack) { s.Calls.Panicked++ },
			"recovered":       func(s *Stack) { s.Recovered-- },
			"in flight":       func(s *Stack) { s.InFlight++ },
			"signed":          func(s *Stack) { s.Calls.Signed++ },
			"failed":          func(s *Stack) { s.Calls.Failed-- },
			"entered":         func(s *Stack) { s.Calls.Entered++ },
			"Stats.OK":        func(s *Stack) { s.Stats.OK++ },
			"Stats.Canceled":  func(s *Stack) { s.Stats.Canceled-- },
			"Stats.Permanent": func(s *Stack) { s.Stats.Permanent++; s.Stats.Canceled-- },
			"closed":          func(s *Stack) { s.Closed = false },
		} {
			if s.Bare && name == "recovered" || s.Bare && s.Swallows && name == "panic" {
				continue // not what that stack has an account of
			}
			spoiled := decode(t, text)
			spoil(&spoiled.Stacks[i])
			require.NotEmpty(t, spoiled.broken(), "%s: %s", s.Name, name)
		}
		for j := range s.Keys {
			key := func(r *Result) *Key { return &r.Stacks[i].Keys[j] }
			for _, counts := range []func(*Result) any{
				func(r *Result) any { return &key(r).Stats },
				func(r *Result) any { return &key(r).Attempts },
				func(r *Result) any { return &key(r).KMS },
			} {
				fields := reflect.ValueOf(counts(sound)).Elem().NumField()
				for f := range fields {
					spoiled := decode(t, text)
					counts := reflect.ValueOf(counts(spoiled)).Elem()
					if field := counts.Field(f); field.CanUint() {
						field.SetUint(field.Uint() + 1)
					} else {
						field.SetInt(field.Int() + 1)
					}
					require.NotEmpty(t, spoiled.broken(), "%s: %s.%s", s.Name, counts.Type(), counts.Type().Field(f).Name)
				}
			}
			spoiled := decode(t, text)
			key(spoiled).Requests = int(key(spoiled).Begun) + 1
			require.Contains(t, spoiled.broken(), "the KMS counted the requests that went out")
			key(spoiled).Requests = int(key(spoiled).Answered) - 1
			require.Contains(t, spoiled.broken(), "the KMS counted the requests that went out")
		}
	}
}

func decode(t *testing.T, text []byte) *Result {
	t.Helper()
	r := new(Result)
	require.NoError(t, json.Unmarshal(text, r))
	return r
}
