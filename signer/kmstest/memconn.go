package kmstest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A memConn is one end of a connection in memory. Unlike net.Pipe's, a write does
// not wait for the reader. HTTP clients count on that much of TCP: the SDK closes
// a request's body as soon as the answer's headers are there, and net/http drops
// the connection if at that moment it has still to be told that the last of the
// body went out.
//
// A memConn can be reset, as a TCP connection can: SetLinger(0), then Close.
type memConn struct {
	in, out *stream

	mu    sync.Mutex
	abort bool // Close resets
}

func memPipe() (client, server *memConn) {
	up, down := newStream(), newStream()
	return &memConn{in: down, out: up}, &memConn{in: up, out: down}
}

func (c *memConn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, opError("read", err)
}

func (c *memConn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, opError("write", err)
}

// SetLinger is what [net.TCPConn.SetLinger] is, where sec is 0.
func (c *memConn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abort = sec == 0
	return nil
}

func (c *memConn) Close() error {
	c.mu.Lock()
	abort := c.abort
	c.mu.Unlock()
	if abort {
		c.out.closeWriter(syscall.ECONNRESET)
		c.in.closeReader(syscall.ECONNRESET)
	} else {
		c.out.closeWriter(io.EOF)
		c.in.closeReader(syscall.EPIPE)
	}
	return nil
}

func (c *memConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}

// SetWriteDeadline has nothing to do, as no write waits.
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

func (c *memConn) LocalAddr() net.Addr  { return memAddr{} }
func (c *memConn) RemoteAddr() net.Addr { return memAddr{} }

const memNetwork = "memory"

type memAddr struct{}

func (memAddr) Network() string { return memNetwork }
func (memAddr) String() string  { return "kmstest" }

// opError dresses an error as the net package does; io.EOF goes bare.
func opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: memNetwork, Addr: memAddr{}, Err: err}
}

// A stream is one direction of a connection: bytes on their way from the writing
// end to the reading end. There is no limit to how many, as no test sends enough
// to need one.
type stream struct {
	mu       sync.Mutex
	changed  sync.Cond // of anything below
	buf      bytes.Buffer
	readErr  error // what the reader finds behind the last byte
	writeErr error // what the writer gets
	deadline time.Time
	timer    *time.Timer // for the deadline
}

func newStream() *stream {
	s := new(stream)
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
			return 0, os.ErrDeadlineExceeded
		case s.buf.Len() > 0:
			return s.buf.Read(b)
		case s.readErr != nil:
			return 0, s.readErr
		}
		s.changed.Wait()
	}
}

func (s *stream) write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writeErr != nil {
		return 0, s.writeErr
	}
	s.changed.Broadcast()
	return s.buf.Write(b)
}

// closeWriter ends the stream at the writing end. The reader finds err, after what
// was written already unless that is a reset, which is news that overtakes.
func (s *stream) closeWriter(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeErr = net.ErrClosed
	if s.readErr == nil {
		s.readErr = err
		if err != io.EOF {
			s.buf.Reset()
		}
	}
	s.changed.Broadcast()
}

// closeReader ends the stream at the reading end. The writer finds err.
func (s *stream) closeReader(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readErr = net.ErrClosed
	s.buf.Reset()
	if s.writeErr == nil {
		s.writeErr = err
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.changed.Broadcast()
}

// setDeadline has reads fail from t on, and never if t is zero.
func (s *stream) setDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.deadline = t
	if !t.IsZero() && s.readErr == nil {
		s.timer = time.AfterFunc(time.Until(t), func() {
			s.mu.Lock() // lest it come between a reader's look at the clock and its wait
			defer s.mu.Unlock()
			s.changed.Broadcast()
		})
	}
	s.changed.Broadcast()
}
