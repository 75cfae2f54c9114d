package logging

import (
	"sync"
	"time"
)

// allowance bounds how many records of a kind are written a second.
type allowance struct {
	mu    sync.Mutex
	kinds map[string]*second
}

// second is one that began with a record.
type second struct {
	ends          time.Time
	written, left int
}

// admit reports whether one more record of the kind may be written. Where one is
// the first to be left out, tell is called when the second ends, with how many
// were.
func (a *allowance) admit(kind string, most int, tell func(left int)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	s := a.kinds[kind]
	if s == nil || !now.Before(s.ends) {
		if a.kinds == nil {
			a.kinds = make(map[string]*second)
		}
		s = &second{ends: now.Add(time.Second)}
		a.kinds[kind] = s
	}
	if s.written < most {
		s.written++
		return true
	}
	if s.left++; s.left == 1 {
		time.AfterFunc(s.ends.Sub(now), func() { tell(a.close(kind, s)) })
	}
	return false
}

// close ends s, and returns how many records were left out in it.
func (a *allowance) close(kind string, s *second) (left int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kinds[kind] == s {
		delete(a.kinds, kind)
	}
	return s.left
}
