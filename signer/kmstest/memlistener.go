package kmstest

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"syscall"
)

// A memListener is a net.Listener whose connections are made by its own dial,
// in memory. Here and in memConn all waiting is on what a synctest bubble
// understands: channels, condition variables and timers.
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

// withConn lets a request's handler find the connection it came over.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

type connKey struct{}

// abortive makes the connection of a request end, when it is closed, with a
// reset instead of an orderly close.
func abortive(ctx context.Context) {
	conn := ctx.Value(connKey{})
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if conn, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		conn.SetLinger(0)
	}
}
