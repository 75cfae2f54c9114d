package kmstest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// A memListener is a net.Listener whose connections are made by its own dial,
// in memory. All its waiting is on channels, which a synctest bubble understands.
type memListener struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemListener() *memListener {
	return &memListener{accept: make(chan net.Conn), closed: make(chan struct{})}
}

// dial connects to the listener, or fails as a dial to a closed port does.
func (l *memListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := memPipe()
	select {
	case l.accept <- server:
		return client, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: memNetwork, Addr: l.Addr(), Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: memNetwork, Addr: l.Addr(), Err: context.Cause(ctx)}
	}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accept:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memListener) Addr() net.Addr { return memAddr{} }

const memNetwork = "memory"

type memAddr struct{}

func (memAddr) Network() string { return memNetwork }
func (memAddr) String() string  { return "kmstest" }

// A memConn is one end of a net.Pipe that can also be reset, as a TCP
// connection can: SetLinger(0), then Close.
type memConn struct {
	net.Conn
	abort atomic.Bool  // Close resets
	reset *atomic.Bool // the connection was reset; both ends share it
}

func memPipe() (client, server *memConn) {
	c, s := net.Pipe()
	reset := new(atomic.Bool)
	return &memConn{Conn: c, reset: reset}, &memConn{Conn: s, reset: reset}
}

// SetLinger is what [net.TCPConn.SetLinger] is, where sec is 0.
func (c *memConn) SetLinger(sec int) error {
	c.abort.Store(sec == 0)
	return nil
}

func (c *memConn) Close() error {
	if c.abort.Load() {
		c.reset.Store(true)
	}
	return c.Conn.Close()
}

func (c *memConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain("read", err)
}

func (c *memConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain("write", err)
}

// explain turns the end of the pipe into what a TCP connection would report.
func (c *memConn) explain(op string, err error) error {
	if c.reset.Load() && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)) {
		return &net.OpError{Op: op, Net: memNetwork, Addr: memAddr{}, Err: syscall.ECONNRESET}
	}
	return err
}

// withConn lets a request's handler find the connection it came over.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

type connKey struct{}

// abortive makes the connection of a request end, when it is closed, with a
// reset instead of an orderly close.
func abortive(ctx context.Context) {
	if conn, ok := ctx.Value(connKey{}).(interface{ SetLinger(sec int) error }); ok {
		conn.SetLinger(0)
	}
}
