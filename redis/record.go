package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
)

// record is what the fleet knows: gobreaker's state, and who probes.
//
// It is the [gobreaker.SharedDataStore] of a distributed breaker that lives for
// one exchange with Redis. Gobreaker reads the state before it locks, holds the
// lock during the call, and for those who find it taken waits half a second at
// a time: none of it fits signing. Here a lock is not needed. A replica works on
// its own copy, and the copy replaces the state in Redis only if that is still
// what it was.
type record struct {
	gobreaker.SharedState
	Prober string    `json:"prober,omitempty"` // who may probe, when half-open
	Since  time.Time `json:"since,omitzero"`   // from when
	Until  time.Time `json:"until,omitzero"`   // and till when
	empty  bool
}

var _ gobreaker.SharedDataStore = (*record)(nil)

func (r *record) Lock(string) error   { return nil }
func (r *record) Unlock(string) error { return nil }

func (r *record) GetData(string) ([]byte, error) {
	if r.empty {
		return nil, nil
	}
	return json.Marshal(r.SharedState)
}

func (r *record) SetData(_ string, data []byte) error {
	r.empty = false
	r.SharedState = gobreaker.SharedState{}
	return json.Unmarshal(data, &r.SharedState)
}

// shift moves r's times by d, from Redis's clock to this machine's or back.
func (r *record) shift(d time.Duration) {
	for _, t := range []*time.Time{&r.Start, &r.Expiry, &r.Since, &r.Until} {
		if !t.IsZero() {
			*t = t.Add(d).UTC()
		}
	}
}

func (r record) encode(ahead time.Duration) (string, error) {
	r.shift(ahead)
	data, err := json.Marshal(r)
	return string(data), err
}

// decode returns the record in data, whose clock is ahead of this one.
func decode(data string, ahead time.Duration) (r record, err error) {
	if data == "" {
		return record{empty: true}, nil
	}
	if err := json.Unmarshal([]byte(data), &r); err != nil {
		return r, err
	}
	r.shift(-ahead)
	return r, nil
}

// idSize is the length of a replica's name.
const idSize = 16

// skew is by how much clocks may differ, and answers be late.
const skew = time.Second

// check returns what is wrong with r, so that gobreaker is not given what it
// would not have written.
func (r *record) check(s gobreaker.Settings, buckets int, now time.Time) error {
	if r.empty {
		return nil
	}
	late := now.Add(skew)
	for _, t := range []time.Time{r.Start, r.Expiry, r.Since, r.Until} {
		if !t.IsZero() && t.Year() < 1970 {
			return fmt.Errorf("something is of %v", t)
		}
	}
	switch {
	case r.State < gobreaker.StateClosed || r.State > gobreaker.StateOpen:
		return fmt.Errorf("state %d", r.State)
	case len(r.Buckets) != buckets:
		return fmt.Errorf("%d buckets, not %d", len(r.Buckets), buckets)
	case len(r.Prober) > idSize:
		return fmt.Errorf("the name of who probes has %d bytes", len(r.Prober))
	case r.Start.IsZero() && buckets > 1: // by which they would never move on
		return errors.New("it has no beginning")
	case r.Start.After(late):
		return errors.New("it begins in the future")
	case r.Since.After(late):
		return errors.New("who probes begins in the future")
	case r.Until.After(late.Add(lease)):
		return fmt.Errorf("probes till %v", r.Until)
	case r.Age > r.oldest(s, late):
		return fmt.Errorf("buckets of the age %d", r.Age)
	}
	switch r.State {
	case gobreaker.StateOpen:
		if r.Expiry.IsZero() || r.Expiry.After(late.Add(s.Timeout)) {
			return fmt.Errorf("open till %v", r.Expiry)
		}
	case gobreaker.StateHalfOpen:
		if !r.Expiry.IsZero() {
			return fmt.Errorf("half-open till %v", r.Expiry)
		}
	case gobreaker.StateClosed:
		if fixed := s.Interval > 0 && buckets == 1; r.Expiry.IsZero() == fixed || r.Expiry.After(late.Add(s.Interval)) {
			return fmt.Errorf("counts till %v", r.Expiry)
		}
	}
	return nil
}

// oldest returns how many times r's buckets may have moved on by now: only those of
// a closed breaker's rolling window do.
func (r *record) oldest(s gobreaker.Settings, now time.Time) uint64 {
	if r.State != gobreaker.StateClosed || len(r.Buckets) == 1 {
		return 0
	}
	return uint64(max(0, now.Sub(r.Start)/s.BucketPeriod))
}

// replay has the fleet's breaker count results. A batch is one call to gobreaker's
// distributed breaker, as each of those reads and writes the state; but where
// it is half-open, each is a probe.
func (r *record) replay(fleet *gobreaker.DistributedCircuitBreaker[struct{}], results []bool) error {
	for len(results) > 0 {
		n := len(results)
		if r.State == gobreaker.StateHalfOpen {
			n = 1
		}
		batch := results[:n]
		results = results[n:]
		_, err := fleet.Execute(func() (struct{}, error) {
			for _, ok := range batch[:n-1] {
				_, _ = fleet.CircuitBreaker.Execute(func() (struct{}, error) { return struct{}{}, result(ok) })
			}
			return struct{}{}, result(batch[n-1])
		})
		switch err {
		case nil, errFailed, gobreaker.ErrOpenState, gobreaker.ErrTooManyRequests:
		default:
			return err
		}
	}
	return nil
}

var errFailed = errors.New("fleet: a call failed")

func result(ok bool) error {
	if ok {
		return nil
	}
	return errFailed
}
