package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/turretgo/turret/signer"
)

// keyring is what all streams share: the keys, and whether they are locked. It is
// safe for concurrent use once the keys have been added.
type keyring struct {
	keys []*key

	mu         sync.Mutex
	locked     bool
	passphrase [sha256.Size]byte // the hash of what unlocks it
}

// key is a key in the KMS, with the stack around it.
type key struct {
	name   string
	public ssh.PublicKey
	signer *signer.Signer
}

var (
	errLocked     = errors.New("the agent is locked; ssh-add -X unlocks it")
	errNotLocked  = errors.New("the agent is not locked")
	errPassphrase = errors.New("the passphrase is not the one that locked the agent")
	errNotOurs    = errors.New("the agent has no such key; ssh-add -l lists those it has")
	errKeysInKMS  = errors.New("the keys are in the KMS; name them when the agent is started")
	errSHA1       = errors.New("ssh-rsa is a signature over SHA-1, which this agent never makes; ask for rsa-sha2-512 or rsa-sha2-256")
	errFlags      = errors.New("the signature flags must be those of rsa-sha2-256 or of rsa-sha2-512, for an RSA key, and none for others")
)

// add makes key one of the ring's, which closes it in the end, also on an error.
func (r *keyring) add(name string, s *signer.Signer) error {
	public, err := ssh.NewPublicKey(s.Public())
	if err == nil {
		if other, _ := r.find(public); other != nil {
			err = fmt.Errorf("it is the same key as %s; name it once", other.name)
		}
	} else {
		err = fmt.Errorf("SSH has no use for such a key: %w; one of RSA, Ed25519 or ECDSA on P-256, P-384 or P-521 will do", err)
	}
	r.keys = append(r.keys, &key{name, public, s})
	return err
}

func (r *keyring) close() {
	for _, k := range r.keys {
		k.signer.Close()
	}
}

// list returns the public keys, and none while the ring is locked.
func (r *keyring) list() []*agent.Key {
	if r.isLocked() {
		return nil
	}
	var list []*agent.Key
	for _, k := range r.keys {
		list = append(list, &agent.Key{Format: k.public.Type(), Blob: k.public.Marshal(), Comment: k.name})
	}
	return list
}

// get returns a key to sign with.
func (r *keyring) get(public ssh.PublicKey) (*key, error) {
	if r.isLocked() {
		return nil, errLocked
	}
	return r.find(public)
}

func (r *keyring) find(public ssh.PublicKey) (*key, error) {
	for _, k := range r.keys {
		if bytes.Equal(k.public.Marshal(), public.Marshal()) {
			return k, nil
		}
	}
	return nil, errNotOurs
}

func (r *keyring) isLocked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.locked
}

func (r *keyring) lock(passphrase []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.locked {
		return errLocked
	}
	r.locked, r.passphrase = true, sha256.Sum256(passphrase)
	return nil
}

func (r *keyring) unlock(passphrase []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.locked {
		return errNotLocked
	}
	// Hashes are of one length, which is all that the comparison would tell.
	if given := sha256.Sum256(passphrase); subtle.ConstantTimeCompare(given[:], r.passphrase[:]) != 1 {
		return errPassphrase
	}
	r.locked, r.passphrase = false, [sha256.Size]byte{}
	return nil
}

// maxMessage is how long a message can be that KMS signs without a hash.
const maxMessage = 4096

// algorithm returns the signature algorithm that flags ask the key for, or why it
// cannot sign size bytes with that.
func (k *key) algorithm(flags agent.SignatureFlags, size int) (string, error) {
	kind := k.public.Type()
	isRSA := kind == ssh.KeyAlgoRSA
	switch {
	case isRSA && flags == agent.SignatureFlagRsaSha256:
		return ssh.KeyAlgoRSASHA256, nil
	case isRSA && flags == agent.SignatureFlagRsaSha512:
		return ssh.KeyAlgoRSASHA512, nil
	case isRSA && flags == 0:
		return "", errSHA1
	case flags != 0:
		return "", fmt.Errorf("%w; they are %#x", errFlags, uint32(flags))
	case kind == ssh.KeyAlgoED25519 && size > maxMessage:
		return "", fmt.Errorf("Ed25519 signs the message itself, and this one has %d bytes where KMS takes %d; an ECDSA or RSA key signs any length", size, maxMessage)
	}
	return kind, nil
}

// sign signs data, until ctx is done.
func (k *key) sign(ctx context.Context, data []byte, algorithm string) (*ssh.Signature, error) {
	s, err := ssh.NewSignerFromSigner(k.signer.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	return s.(ssh.AlgorithmSigner).SignWithAlgorithm(nil, data, algorithm) // the KMS has its own randomness
}
