package reconnect

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/turretgo/turret"
)

// connection is a service that connect made.
type connection[Req, Resp any] struct {
	turret.Service[Req, Resp]
	made   time.Time
	users  atomic.Int64 // calls in flight, and one more until it is retired
	worked atomic.Bool  // a call on it went well
}

// acquire counts a call in, unless the connection has been given up by all.
func (c *connection[Req, Resp]) acquire() bool {
	for {
		n := c.users.Load()
		if n == 0 {
			return false
		}
		if c.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release counts one out. The last one out has the connection closed, and does
// not wait for that: closing what is broken can take its time.
func (s *service[Req, Resp]) release(c *connection[Req, Resp]) {
	if c.users.Add(-1) == 0 {
		go s.dispose(c)
	}
}

func (s *service[Req, Resp]) dispose(c *connection[Req, Resp]) {
	defer s.unclosed.Done()
	err := errPanicked
	defer func() {
		if p := recover(); p != nil { // let out of a goroutine of ours, it would end the program
			err = fmt.Errorf("reconnect: closing a connection panicked: %v", p)
		}
		s.disposed(err)
	}()
	err = turret.Close(c.Service)
}

// disposed keeps for Close what closing a connection said. Before that, nobody
// wants to know: it was broken.
func (s *service[Req, Resp]) disposed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.closeErr = errors.Join(s.closeErr, err)
	}
}

// retire gives c up after err, if nobody has yet. Calls that are in flight on it
// stay there; the next one connects.
func (s *service[Req, Resp]) retire(c *connection[Req, Resp], err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.current.CompareAndSwap(c, nil) {
		return false
	}
	s.backoff.broke(c.made, c.worked.Load(), err)
	s.release(c)
	return true
}
