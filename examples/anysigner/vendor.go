package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
)

// vendorKMS is a KMS that speaks a vendor's protocol, signs, and fails on demand:
//
//	GET  /keys/release       the public key, as DER
//	POST /keys/release:sign  {"digest": …, "hash": "SHA-256"}; the signature, as DER
type vendorKMS struct {
	*httptest.Server
	key *ecdsa.PrivateKey

	mu       sync.Mutex
	faults   []fault // of the next requests to sign
	requests int     // to sign
}

type signRequest struct {
	Digest []byte `json:"digest"`
	Hash   string `json:"hash"`
}

type fault int

const (
	fine        fault = iota
	unavailable       // 503
	throttle          // 429, come again in a second
	hang              // until the client goes away
	reset             // of the connection
	denied            // 403
)

func newVendorKMS() *vendorKMS {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand has failed
	}
	k := &vendorKMS{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys/release", k.public)
	mux.HandleFunc("POST /keys/release:sign", k.sign)
	k.Server = httptest.NewServer(mux)
	return k
}

// Fail sets how the next requests to sign end. Those after them are fine.
func (k *vendorKMS) Fail(faults ...fault) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults = faults
}

// Requests returns how many requests to sign there have been.
func (k *vendorKMS) Requests() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.requests
}

// next takes the next request's fault.
func (k *vendorKMS) next() (f fault) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.requests++
	if len(k.faults) > 0 {
		f, k.faults = k.faults[0], k.faults[1:]
	}
	return f
}

func (k *vendorKMS) public(w http.ResponseWriter, _ *http.Request) {
	der, err := x509.MarshalPKIXPublicKey(k.key.Public())
	if err != nil {
		http.Error(w, "internal", http.StatusInternalServerError)
		return
	}
	w.Write(der)
}

func (k *vendorKMS) sign(w http.ResponseWriter, r *http.Request) {
	var req signRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Hash != crypto.SHA256.String() || len(req.Digest) != crypto.SHA256.Size() {
		http.Error(w, "this key signs SHA-256 digests", http.StatusBadRequest)
		return
	}
	switch k.next() {
	case unavailable:
		http.Error(w, "unavailable", http.StatusServiceUnavailable)
	case throttle:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "over quota", http.StatusTooManyRequests)
	case denied:
		http.Error(w, "access denied", http.StatusForbidden)
	case hang:
		<-r.Context().Done()
	case reset:
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	case fine:
		sig, err := k.key.Sign(rand.Reader, req.Digest, crypto.SHA256)
		if err != nil {
			http.Error(w, "internal", http.StatusInternalServerError)
			return
		}
		w.Write(sig)
	}
}
