package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/turretgo/turret"
)

// session is the agent as one stream sees it: with the stream's context, and with
// a log that says whose request it was. It answers one request at a time.
type session struct {
	ctx    context.Context
	keys   *keyring
	log    *slog.Logger
	logged bool // the outcome of the request under way
}

var _ agent.ExtendedAgent = (*session)(nil)

func (s *session) List() ([]*agent.Key, error) {
	list := s.keys.list()
	s.outcome("list", nil, "keys", len(list))
	return list, nil
}

func (s *session) Sign(public ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return s.SignWithFlags(public, data, 0)
}

func (s *session) SignWithFlags(public ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	k, err := s.keys.get(public)
	if err != nil {
		return nil, s.outcome("sign", err, "fingerprint", ssh.FingerprintSHA256(public))
	}
	algorithm, err := k.algorithm(flags, len(data))
	if err != nil {
		return nil, s.outcome("sign", err, "key", k.name)
	}
	start := time.Now()
	signature, err := k.sign(s.ctx, data, algorithm)
	s.signed(err, "key", k.name, "algorithm", algorithm, "took", time.Since(start))
	return signature, err
}

func (s *session) Lock(passphrase []byte) error {
	return s.outcome("lock", s.keys.lock(passphrase))
}

func (s *session) Unlock(passphrase []byte) error {
	return s.outcome("unlock", s.keys.unlock(passphrase))
}

// Extension has none to offer. OpenSSH's own, session-bind@openssh.com, is for
// keys that may not be used everywhere, and clients go on without it.
func (s *session) Extension(name string, _ []byte) ([]byte, error) {
	s.logged = true
	s.log.Debug("extension not supported", "name", fmt.Sprintf("%.64s", name))
	return nil, agent.ErrExtensionUnsupported
}

func (s *session) Add(agent.AddedKey) error { return s.outcome("add", errKeysInKMS) }

func (s *session) Remove(ssh.PublicKey) error { return s.outcome("remove", errKeysInKMS) }

func (s *session) RemoveAll() error { return s.outcome("remove all", errKeysInKMS) }

// Signers is not part of the protocol.
func (s *session) Signers() ([]ssh.Signer, error) { return nil, errKeysInKMS }

// outcome logs what became of a request and returns err, of which the client will
// learn only that there was one. Nothing that was signed is ever logged.
func (s *session) outcome(request string, err error, attrs ...any) error {
	s.logged = true
	log := s.log.With("request", request).With(attrs...)
	if err != nil {
		log.Warn("refused", "why", err)
		return err
	}
	log.Info("answered")
	return nil
}

// signed logs what the key made of a request that was let through to it.
func (s *session) signed(err error, attrs ...any) {
	switch class := turret.Outcome(s.ctx, err); {
	case err == nil:
		s.outcome("sign", nil, attrs...)
	case class == turret.Canceled:
		s.logged = true
		s.log.Info("cancelled", append([]any{"request", "sign", "why", context.Cause(s.ctx)}, attrs...)...)
	default:
		s.logged = true
		s.log.Error("failed", append([]any{"request", "sign", "class", class, "why", err}, attrs...)...)
	}
}
