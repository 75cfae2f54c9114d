package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/miekg/dns"
)

// responder is the web server of the one who orders a certificate. It answers
// challenges.
type responder struct {
	listener net.Listener
	http     http.Server
	done     chan error
	answers  sync.Map // by path
}

func startResponder() (*responder, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &responder{listener: listener, done: make(chan error, 1)}
	r.http.Handler = r
	go func() { r.done <- r.http.Serve(listener) }()
	return r, nil
}

func (r *responder) port() int                 { return r.listener.Addr().(*net.TCPAddr).Port }
func (r *responder) serve(path, answer string) { r.answers.Store(path, answer) }
func (r *responder) remove(path string)        { r.answers.Delete(path) }

func (r *responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	answer, ok := r.answers.Load(req.URL.Path)
	if !ok {
		http.NotFound(w, req)
		return
	}
	fmt.Fprint(w, answer)
}

func (r *responder) close() error {
	err := r.http.Close()
	if served := <-r.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// nameServer is the DNS: every name points to the loopback interface.
type nameServer struct {
	listener net.Listener
	dns      dns.Server
	done     chan error
}

func startNameServer() (*nameServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &nameServer{listener: listener, done: make(chan error, 1)}
	started := make(chan struct{})
	s.dns = dns.Server{Listener: listener, Handler: dns.HandlerFunc(answer), NotifyStartedFunc: func() { close(started) }}
	go func() { s.done <- s.dns.ActivateAndServe() }()
	<-started // it cannot be shut down before
	return s, nil
}

func answer(w dns.ResponseWriter, req *dns.Msg) {
	resp := new(dns.Msg).SetReply(req)
	for _, q := range req.Question {
		if q.Qtype == dns.TypeA {
			header := dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}
			resp.Answer = append(resp.Answer, &dns.A{Hdr: header, A: net.IPv4(127, 0, 0, 1)})
		}
	}
	_ = w.WriteMsg(resp) // who did not get it asks again
}

func (s *nameServer) addr() string { return s.listener.Addr().String() }

func (s *nameServer) close() error { return errors.Join(s.dns.Shutdown(), <-s.done) }
