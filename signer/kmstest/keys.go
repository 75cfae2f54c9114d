package kmstest

import (
	"crypto"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// maxKeyID is how long any form of a key's name may be.
const maxKeyID = 2048

// A material is what a key is in every Region that has it. It does not change.
type material struct {
	id          string
	spec        types.KeySpec
	usage       types.KeyUsageType
	multiRegion bool
	primary     string // the Region it was made in
	created     time.Time

	private crypto.Signer // nil for a symmetric key
	public  []byte        // DER of its SubjectPublicKeyInfo

	// What the spec can do, as far as the usage lets it.
	signing      []types.SigningAlgorithmSpec
	encryption   []types.EncryptionAlgorithmSpec
	keyAgreement []types.KeyAgreementAlgorithmSpec
}

// A key is a material in one Region. It is guarded by the family's mutex.
type key struct {
	*material
	arn         string
	description string
	disabled    bool
	denied      bool
	readyAt     time.Time // Creating until then
	deleteAt    time.Time // PendingDeletion until then, gone afterwards; zero for a key that stays
}

// state is the key's state as of now.
func (k *key) state(now time.Time) types.KeyState {
	switch {
	case !k.deleteAt.IsZero():
		return types.KeyStatePendingDeletion
	case now.Before(k.readyAt):
		return types.KeyStateCreating
	case k.disabled:
		return types.KeyStateDisabled
	}
	return types.KeyStateEnabled
}

// usable is the refusal that the key's state asks for, nil if it is enabled.
func (k *key) usable(now time.Time) error {
	switch k.state(now) {
	case types.KeyStateEnabled:
		return nil
	case types.KeyStateDisabled:
		return refuse("DisabledException", "%s is disabled.", k.arn)
	}
	return k.settled(now)
}

// settled is the refusal of operations that a disabled key allows.
func (k *key) settled(now time.Time) error {
	switch k.state(now) {
	case types.KeyStatePendingDeletion:
		return refuse("KMSInvalidStateException", "%s is pending deletion.", k.arn)
	case types.KeyStateCreating:
		return refuse("KMSInvalidStateException", "%s is creating.", k.arn)
	}
	return nil
}

// CreateKey makes a key and gives its id. The key is for signing, except that
// SYMMETRIC_DEFAULT, which cannot sign, is for encryption. A key of another usage,
// or for one Region only, is to be had over the wire, with CreateKey of [Server.Client].
//
// It is a multi-Region key, with an id such as mrk-1234abcd12ab34cd56ef1234567890ab,
// and every [Server.Replica] has it at once. The key is a fresh one, which for RSA
// takes its time: a second or more for RSA_4096. A test that makes many keys is
// better off with ECC_NIST_P256.
//
// It panics if the server knows no such spec.
func (s *Server) CreateKey(spec types.KeySpec) string {
	usage := types.KeyUsageTypeSignVerify
	if spec == types.KeySpecSymmetricDefault {
		usage = types.KeyUsageTypeEncryptDecrypt
	}
	m, err := newMaterial(spec, usage, true, s.region)
	if err != nil {
		panic("kmstest: CreateKey: " + err.Error())
	}
	s.family.mu.Lock()
	defer s.family.mu.Unlock()
	s.family.shared = append(s.family.shared, m)
	for _, server := range s.family.servers {
		server.addKey(m, time.Time{})
	}
	return m.id
}

// newMaterial generates a key, or refuses to with an *apiError.
func newMaterial(spec types.KeySpec, usage types.KeyUsageType, multiRegion bool, region string) (*material, error) {
	kind, ok := keySpecs[spec]
	if !ok {
		return nil, errUnsupported("KeySpec %s is not supported by this server.", spec)
	}
	if !slices.Contains(kind.usages(), usage) {
		return nil, errValidation("KeyUsage %s is not compatible with KeySpec %s.", usage, spec)
	}
	m := &material{
		id:          newUUID(),
		spec:        spec,
		usage:       usage,
		multiRegion: multiRegion,
		primary:     region,
		created:     time.Now(),
	}
	if multiRegion {
		var id [16]byte
		rand.Read(id[:])
		m.id = "mrk-" + hex.EncodeToString(id[:])
	}
	switch usage {
	case types.KeyUsageTypeSignVerify:
		m.signing = kind.signing
	case types.KeyUsageTypeEncryptDecrypt:
		m.encryption = kind.encryption
	case types.KeyUsageTypeKeyAgreement:
		m.keyAgreement = kind.keyAgreement
	}
	if kind.generate != nil {
		var err error
		if m.private, err = kind.generate(); err != nil {
			return nil, errInternal()
		}
		if m.public, err = marshalPublicKey(m.private.Public()); err != nil {
			return nil, errInternal()
		}
	}
	return m, nil
}

// addKey puts a key into this Region. The caller holds family.mu.
func (s *Server) addKey(m *material, readyAt time.Time) *key {
	k := &key{material: m, arn: s.arn("key/" + m.id), readyAt: readyAt}
	s.keys[m.id] = k
	return k
}

// Deny refuses, until Allow, every request for the key in this Region, by
// whatever name it goes, with an AccessDeniedException. It panics if there is no
// such key.
func (s *Server) Deny(keyID string) {
	s.mustUpdate("Deny", keyID, func(k *key) { k.denied = true })
}

// Allow ends what [Server.Deny] began. It panics if there is no such key.
func (s *Server) Allow(keyID string) {
	s.mustUpdate("Allow", keyID, func(k *key) { k.denied = false })
}

// mustUpdate changes a key, which has to exist: a test that names another is wrong.
func (s *Server) mustUpdate(method, keyID string, change func(*key)) {
	s.family.mu.Lock()
	defer s.family.mu.Unlock()
	k, err := s.find(method, keyID)
	if err != nil {
		panic("kmstest: " + method + ": " + err.Error())
	}
	change(k)
}
