package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/turretgo/turret/signer"
)

// audience is the service that the tokens are for.
const audience = "https://api.example.com"

// clients is how many ask for tokens at once.
const clients = 8

// patience is how long they wait. It is more than the stack's own timeout, so
// that they hear from the issuer what became of their token.
const patience = 15 * time.Second

// server is an issuer that listens on the loopback interface.
type server struct {
	issuer *issuer
	http   http.Server
	done   chan error
}

func startServer(key *signer.Signer, algorithm jose.SignatureAlgorithm, log *slog.Logger) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	issuer, err := newIssuer("http://"+listener.Addr().String(), key, algorithm, log)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s := &server{issuer: issuer, done: make(chan error, 1)}
	s.http = http.Server{Handler: issuer.handler(), ReadTimeout: 5 * time.Second}
	go func() { s.done <- s.http.Serve(listener) }()
	return s, nil
}

func (s *server) close() error {
	err := s.http.Close()
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// tally counts tokens. Its error is the first one's that was not issued, or not
// verified by both.
type tally struct {
	mu                            sync.Mutex
	issued, byGoJose, byGolangJWT int
	err                           error
}

// runClients fetches the issuer's keys, asks it for n tokens and verifies them.
func runClients(ctx context.Context, issuer string, n int) (*tally, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	v, err := newVerifier(ctx, client, issuer, audience)
	if err != nil {
		return nil, err
	}
	t := &tally{}
	subjects := make(chan string)
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for subject := range subjects {
				t.add(askAndVerify(ctx, client, v, subject))
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		subjects <- fmt.Sprintf("user-%d", i)
	}
	close(subjects)
	running.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("interrupted: %w", ctx.Err())
	}
	return t, nil
}

// verdict is what became of one token.
type verdict struct{ issue, byGoJose, byGolangJWT error }

func askAndVerify(ctx context.Context, client *http.Client, v *verifier, subject string) verdict {
	token, err := requestToken(ctx, client, v.issuer, subject, v.audience)
	if err != nil {
		return verdict{issue: err}
	}
	claims, err1 := v.byGoJose(token)
	if err1 == nil && claims.Subject != subject {
		err1 = fmt.Errorf("the token is %q's; %q asked for it", claims.Subject, subject)
	}
	registered, err2 := v.byGolangJWT(token)
	if err2 == nil && registered.Subject != subject {
		err2 = fmt.Errorf("the token is %q's; %q asked for it", registered.Subject, subject)
	}
	return verdict{byGoJose: err1, byGolangJWT: err2}
}

func (t *tally) add(v verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = cmp.Or(v.issue, v.byGoJose, v.byGolangJWT)
	}
	if v.issue != nil {
		return
	}
	t.issued++
	if v.byGoJose == nil {
		t.byGoJose++
	}
	if v.byGolangJWT == nil {
		t.byGolangJWT++
	}
}
