package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh/agent"
)

const (
	maxConnections = 256
	maxRequest     = 256 << 10 // what agent.ServeAgent and OpenSSH take

	// patience is for the rest of a request that has begun, and for a client to
	// take its answer. Between requests a client may be silent as long as it likes.
	patience = time.Minute
)

// server serves the agent protocol.
type server struct {
	keys        *keyring
	log         *slog.Logger
	connections int // how many at once; 0 means 256
}

// serve makes a stream of every connection to ln, until ctx is done. Then it
// closes ln, ends all streams, and returns when nothing of them is left.
func (s *server) serve(ctx context.Context, ln net.Listener) error {
	var streams sync.WaitGroup
	defer streams.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	streams.Go(func() {
		<-ctx.Done()
		ln.Close()
	})
	if s.connections == 0 {
		s.connections = maxConnections
	}
	slots := make(chan struct{}, s.connections)
	for id := 1; ; id++ {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // no more file descriptors, say: those who are served free some
			s.log.Error("no connection", "why", err)
			pause(ctx, 100*time.Millisecond)
			continue
		}
		log := s.log.With("connection", id, peer(conn))
		select {
		case slots <- struct{}{}:
			streams.Go(func() {
				defer func() { <-slots }()
				s.stream(ctx, conn, log)
			})
		default:
			log.Error("connection refused", "why", fmt.Sprintf("there are %d, and no more are served at once", s.connections))
			conn.Close()
		}
	}
}

var errGone = errors.New("the client went away")

// stream answers the requests of one connection, one after another, until that
// ends or ctx is done. It closes conn.
//
// A second goroutine reads. While a request is answered it sees the next one
// arrive, or the client go, which cancels the answer under way: in the agent
// protocol who closes its side has gone.
func (s *server) stream(ctx context.Context, conn net.Conn, log *slog.Logger) {
	var helpers sync.WaitGroup
	defer helpers.Wait()
	interrupt := ctx
	ctx, end := context.WithCancelCause(interrupt)
	defer end(nil)
	helpers.Go(func() {
		<-ctx.Done()
		conn.Close() // frees who reads, and who writes to a client that does not read
	})
	requests := make(chan []byte)
	helpers.Go(func() { end(receive(ctx, conn, requests)) })

	session := &session{ctx: ctx, keys: s.keys, log: log}
	for {
		select {
		case request := <-requests:
			reply, err := session.answer(request)
			if err == nil {
				_ = conn.SetWriteDeadline(time.Now().Add(patience))
				_, err = conn.Write(reply)
			}
			if err != nil {
				end(err)
			}
		case <-ctx.Done():
			if why := context.Cause(ctx); why != errGone && interrupt.Err() == nil {
				log.Warn("connection ended", "why", why)
			}
			return
		}
	}
}

// receive hands on the requests that conn brings, and returns why there are no more.
func receive(ctx context.Context, conn net.Conn, requests chan<- []byte) error {
	r := bufio.NewReader(conn)
	for {
		switch _, err := r.Peek(1); {
		case err == io.EOF:
			return errGone
		case err != nil:
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		request, err := readRequest(r)
		if err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Time{})
		select {
		case requests <- request:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readRequest reads a request with its length before it, or returns io.EOF if
// there is none.
func readRequest(r io.Reader) ([]byte, error) {
	length := make([]byte, 4)
	switch _, err := io.ReadFull(r, length); {
	case err == io.EOF:
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("in the length of a request: %w", err)
	}
	n := binary.BigEndian.Uint32(length)
	if n == 0 || n > maxRequest {
		return nil, fmt.Errorf("a request said to be of %d bytes; it must have 1 to %d", n, maxRequest)
	}
	request := append(length, make([]byte, n)...)
	if m, err := io.ReadFull(r, request[4:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%d bytes into a request of %d: %w", m, n, err)
	}
	return request, nil
}

// Numbers of messages in the agent protocol, draft-miller-ssh-agent.
const (
	agentFailure          = 5
	agentAddIdentity      = 17
	agentAddIDConstrained = 25
)

var errNoRequest = errors.New("there is no such request, or it is malformed")

// answer returns the reply to a request, each with its length before it.
func (s *session) answer(request []byte) ([]byte, error) {
	s.logged = false
	kind := request[4]
	if kind == agentAddIdentity || kind == agentAddIDConstrained {
		clear(request) // a private key, which is not even parsed
		s.outcome("add", errKeysInKMS)
		return []byte{0, 0, 0, 1, agentFailure}, nil
	}
	var reply bytes.Buffer
	err := agent.ServeAgent(s, struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(request), &reply})
	if err != io.EOF { // which says that the one request has been served
		return nil, err
	}
	if !s.logged && bytes.HasSuffix(reply.Bytes(), []byte{0, 0, 0, 1, agentFailure}) {
		s.outcome(fmt.Sprint("number ", kind), errNoRequest) // x/crypto failed it by itself
	}
	return reply.Bytes(), nil
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
