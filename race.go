package turret

import (
	"context"
	"errors"
	"sync"
)

// ErrOutrun is the cause, as context.Cause tells it, of the end of a call whose
// request another call answered first: it is what a hedge says to its losers.
//
// To Outcome such a call is Canceled, for nobody knows how it would have ended.
// One thing is known, and who measures latency must not miss it: the call takes
// at least as long as it had run. An estimate below that is to be raised to it;
// one above it stands. Or else the replica that always loses, and is always
// cut short, would look like one that nobody ever asked.
var ErrOutrun = errors.New("turret: another call of the same request answered first")

// ErrTaken is the error of a call in a [Race] that finds every replica claimed by
// another one. Its class is Rejected. It says nothing of the replicas: who began
// the race leaves it out of the account.
var ErrTaken = WithClass(errors.New("every replica has been asked by another call of the same request"), Rejected)

// Race is what the calls of one request know of each other while they are under
// way at the same time, so that no two of them go to the same replica: see
// [Claim]. It is for layers that call more than once at a time. The zero Race is
// ready to use, for one request.
type Race struct {
	mu     sync.Mutex
	claims []claim
}

type claim struct {
	replica any
	by      *runner
}

// Join returns ctx for one more call in the race.
func (r *Race) Join(ctx context.Context) context.Context {
	outer, _ := ctx.Value(raceKey{}).(*runner)
	return context.WithValue(ctx, raceKey{}, &runner{r, outer})
}

// Claim takes a replica for the call that ctx is of, and reports whether that
// may have it. It may not if another call in the same [Race] claimed it before,
// whatever came of that. Outside of a race a call may have every replica.
//
// It is for layers with several services below: they ask before they call one,
// and go on to another, or give up, where the answer is no. Replica is what the
// layer knows it by and nobody else does; a pointer of its own costs no
// allocation.
func Claim(ctx context.Context, replica any) bool {
	r, _ := ctx.Value(raceKey{}).(*runner)
	return r.claim(replica)
}

type raceKey struct{}

// runner is one call in a race, and nil outside of one.
type runner struct {
	race  *Race
	outer *runner // what the whole race is part of, if it is part of a call in another
}

func (r *runner) claim(replica any) bool {
	return r == nil || r.outer.claim(replica) && r.race.claim(replica, r)
}

func (r *Race) claim(replica any, by *runner) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.claims {
		if c.replica == replica {
			return c.by == by
		}
	}
	r.claims = append(r.claims, claim{replica, by})
	return true
}
