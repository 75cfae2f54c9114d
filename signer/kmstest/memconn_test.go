package kmstest

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMemConnClose(t *testing.T) {
	a, b := memPipe()
	_, err := a.Write([]byte("last words"))
	require.NoError(t, err)
	require.NoError(t, a.Close())

	heard, err := io.ReadAll(b) // to io.EOF
	assert.NoError(t, err)
	assert.Equal(t, "last words", string(heard))
	_, err = b.Write([]byte("pardon?"))
	assert.ErrorIs(t, err, syscall.EPIPE)

	_, err = a.Read(make([]byte, 1))
	assert.ErrorIs(t, err, net.ErrClosed)
	_, err = a.Write([]byte("more"))
	assert.ErrorIs(t, err, net.ErrClosed)
}

func TestMemConnReset(t *testing.T) {
	a, b := memPipe()
	_, err := a.Write([]byte("never read"))
	require.NoError(t, err)
	require.NoError(t, a.SetLinger(0))
	require.NoError(t, a.Close())

	_, err = b.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	_, err = b.Write([]byte("pardon?"))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	require.NoError(t, b.Close())
	_, err = b.Read(make([]byte, 1))
	assert.ErrorIs(t, err, net.ErrClosed)
}

func TestMemConnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memPipe()
		defer a.Close()
		defer b.Close()
		read := func() (time.Duration, error) {
			start := time.Now()
			_, err := b.Read(make([]byte, 1))
			return time.Since(start), err
		}

		require.NoError(t, b.SetDeadline(time.Now().Add(time.Second)))
		took, err := read()
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Second, took)

		// net/http interrupts a read so: with a deadline in the past.
		require.NoError(t, b.SetReadDeadline(time.Time{}))
		time.AfterFunc(time.Minute, func() { b.SetReadDeadline(time.Unix(1, 0)) })
		took, err = read()
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Minute, took)

		// Moved before it comes, it does not.
		require.NoError(t, b.SetReadDeadline(time.Now().Add(time.Second)))
		require.NoError(t, b.SetReadDeadline(time.Now().Add(time.Hour)))
		time.AfterFunc(time.Minute, func() { a.Write([]byte("!")) })
		took, err = read()
		assert.NoError(t, err)
		assert.Equal(t, time.Minute, took)
	})
}

func TestMemListenerDial(t *testing.T) {
	ln := newMemListener()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ln.dial(ctx) // nobody accepts
	assert.ErrorIs(t, err, context.Canceled)

	require.NoError(t, ln.Close())
	require.NoError(t, ln.Close())
	_, err = ln.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
	_, err = ln.dial(t.Context())
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.EqualError(t, err, "dial memory kmstest: connection refused")
}
