package kmstest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// The longest requests served here are some 14 kB: 4096 bytes and a signature
	// in base64, a description of 8192 characters.
	maxBody = 64 << 10

	jsonType = "application/x-amz-json-1.1"
)

// An operation decodes a request's body and serves it. The error is an *apiError.
type operation func(s *Server, body []byte) (any, error)

// operationFor finds an operation by its name, nil if there is none. It is no
// map, for that would depend on itself: ReplicateKey may start a server.
func operationFor(name string) operation {
	switch name {
	case "CreateKey":
		return decoded((*Server).createKey)
	case "DescribeKey":
		return decoded((*Server).describeKey)
	case "GetPublicKey":
		return decoded((*Server).getPublicKey)
	case "Sign":
		return decoded((*Server).sign)
	case "Verify":
		return decoded((*Server).verify)
	case "CreateAlias":
		return decoded((*Server).createAlias)
	case "UpdateAlias":
		return decoded((*Server).updateAlias)
	case "DeleteAlias":
		return decoded((*Server).deleteAlias)
	case "EnableKey":
		return decoded((*Server).enableKey)
	case "DisableKey":
		return decoded((*Server).disableKey)
	case "ScheduleKeyDeletion":
		return decoded((*Server).scheduleKeyDeletion)
	case "CancelKeyDeletion":
		return decoded((*Server).cancelKeyDeletion)
	case "ReplicateKey":
		return decoded((*Server).replicateKey)
	}
	return nil
}

// decoded makes an operation of a method that takes its input decoded.
func decoded[In, Out any](serve func(*Server, In) (*Out, error)) operation {
	return func(s *Server, body []byte) (any, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, refuse("SerializationException", "%v", err)
		}
		out, err := serve(s, in)
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

// A reply is an answer ready to be sent.
type reply struct {
	status      int
	contentType string
	body        []byte
}

// serve is the server's http.Handler: from the request that has come in to the
// count it ends in.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	op := operationFor(name)
	if op == nil {
		name = "" // strangers' words do not get into the Stats
	}

	s.stats.begin(name)
	answer, outcome := s.process(w, r, op)
	s.stats.end(name, outcome)

	if answer == nil {
		abortive(r.Context())
		panic(http.ErrAbortHandler) // net/http's way of closing the connection without an answer
	}
	w.Header().Set("Content-Type", answer.contentType)
	w.Header().Set("x-amzn-RequestId", newUUID())
	w.WriteHeader(answer.status)
	w.Write(answer.body)
}

// process decides what a request is answered, nil for nothing, and how it counts.
func (s *Server) process(w http.ResponseWriter, r *http.Request, op operation) (*reply, outcome) {
	// To its end, whatever is in it: net/http notices that a client has gone away
	// only once the body was read.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return refusal(errTooLarge()), outcomeRefused
	} else if err != nil {
		return nil, outcomeCanceled
	}

	fate := s.faults.next()
	if !s.delay(r.Context(), fate.delay) {
		return nil, outcomeCanceled
	}
	if fate.fault != nil {
		return fate.fault.answer(r.Context(), s), fate.fault.outcome
	}

	output, err := s.dispatch(r, op, body)
	if err != nil {
		refusing := err.(*apiError)
		if refusing.code == throttling {
			return refusal(refusing), outcomeThrottled
		}
		return refusal(refusing), outcomeRefused
	}
	if signed, ok := output.(*signOutput); ok && fate.corrupt {
		signed.corrupt()
		return jsonReply(http.StatusOK, output), outcomeCorrupt
	}
	return jsonReply(http.StatusOK, output), outcomeOK
}

// dispatch serves a request that no fault befell.
func (s *Server) dispatch(r *http.Request, op operation, body []byte) (any, error) {
	switch {
	case op == nil || r.Method != http.MethodPost:
		return nil, refuse("UnknownOperationException", "")
	case r.Header.Get("Authorization") == "":
		return nil, refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	return op(s, body)
}

// delay waits, and reports whether anybody still waits for the answer.
func (s *Server) delay(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.done:
		return false
	}
}

func refusal(err *apiError) *reply {
	return jsonReply(err.status, struct {
		Type    string `json:"__type"`
		Message string `json:"message,omitempty"`
	}{err.code, err.message})
}

func jsonReply(status int, output any) *reply {
	body, err := json.Marshal(output)
	if err != nil {
		panic(err) // our own types, which always marshal
	}
	return &reply{status, jsonType, body}
}

// newUUID makes a random UUID, as request ids and the ids of single-Region keys are.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40 // version 4: random
	b[8] = b[8]&0x3f | 0x80 // the variant of RFC 9562
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
