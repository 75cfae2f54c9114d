package kmstest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
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
	description string

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
	arn      string
	disabled bool
	denied   bool
	readyAt  time.Time // Creating until then
	deleteAt time.Time // PendingDeletion until then, gone afterwards; zero for a key that stays
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

// CreateKey makes a key and gives its id. It can sign, and only a
// SYMMETRIC_DEFAULT key cannot: that is for encryption. For keys of other usages
// use the operation of [Server.Client].
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
		if m.public, err = x509.MarshalPKIXPublicKey(m.private.Public()); err != nil {
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

// SetAlias makes an alias of this Region for a key, or moves it to the key if it
// exists. The alias begins with "alias/". Moved, it is another key's name from the
// next request on, which is what a signer that went on using it would sign with.
//
// It panics if the alias is no name for one or there is no such key.
func (s *Server) SetAlias(alias, keyID string) {
	if err := checkAlias(alias); err != nil {
		panic("kmstest: SetAlias: " + err.Error())
	}
	s.mustUpdate("SetAlias", keyID, func(k *key) { s.aliases[alias] = k.id })
}

// Deny has every request for the key, by whatever name it goes, refused with an
// AccessDeniedException in this Region, until Allow. It panics if there is no such
// key.
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

// lookup finds the key that an operation names, if it is allowed to. The caller
// holds family.mu.
func (s *Server) lookup(op, name string) (*key, error) {
	k, err := s.find(op, name)
	if err != nil {
		return nil, err
	}
	if k.denied {
		return nil, errDenied(op, k.arn, "no resource-based policy allows the kms:"+op+" action")
	}
	return k, nil
}

var keyIDPattern = regexp.MustCompile(`^(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

// find resolves a key's id, its ARN, an alias or an alias's ARN. The caller holds
// family.mu.
func (s *Server) find(op, name string) (*key, error) {
	resource := name
	if strings.HasPrefix(name, "arn:") {
		// arn:aws:kms:us-east-1:111122223333:key/…
		parts := strings.SplitN(name, ":", 6)
		if len(parts) < 6 || parts[1] != "aws" || parts[2] != "kms" {
			return nil, errNotFound("Invalid arn %s", name)
		}
		if parts[3] != s.region {
			return nil, errNotFound("Invalid arn %s", parts[3])
		}
		if parts[4] != account {
			return nil, errDenied(op, name, "the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access")
		}
		resource = parts[5]
		if !strings.HasPrefix(resource, "key/") && !strings.HasPrefix(resource, "alias/") {
			return nil, errNotFound("Invalid arn %s", name)
		}
	} else if !strings.HasPrefix(name, "alias/") {
		if !keyIDPattern.MatchString(strings.ToLower(name)) {
			return nil, errNotFound("Invalid keyId %s", name)
		}
		resource = "key/" + name
	}

	if id, isKey := strings.CutPrefix(resource, "key/"); !isKey {
		if k := s.aliased(resource); k != nil {
			return k, nil
		}
		return nil, errNotFound("Alias %s is not found.", s.arn(resource))
	} else if k := s.existing(id); k != nil {
		return k, nil
	}
	return nil, errNotFound("Key '%s' does not exist", s.arn(resource))
}

// existing is the key of that id, nil if there is none or its waiting period
// before deletion is over. The caller holds family.mu.
func (s *Server) existing(id string) *key {
	k := s.keys[id]
	if k == nil || !k.deleteAt.IsZero() && !time.Now().Before(k.deleteAt) {
		return nil
	}
	return k
}

// aliased is the key that an alias stands for, nil if there is none: an alias is
// deleted with its key. The caller holds family.mu.
func (s *Server) aliased(alias string) *key {
	return s.existing(s.aliases[alias])
}

func errDenied(op, arn, because string) *apiError {
	return refuse("AccessDeniedException",
		"User: arn:aws:iam::%s:user/kmstest is not authorized to perform: kms:%s on resource: %s because %s",
		account, op, arn, because)
}

var aliasPattern = regexp.MustCompile(`^alias/[a-zA-Z0-9:/_-]{1,250}$`)

// checkAlias refuses what cannot be the name of an alias of the customer's.
func checkAlias(alias string) error {
	switch {
	case !strings.HasPrefix(alias, "alias/"):
		return errValidation("Invalid identifier: %q does not begin with alias/", alias)
	case !aliasPattern.MatchString(alias):
		return errValidation("1 validation error detected: Value '%s' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$ and have length less than or equal to 256", alias)
	case strings.HasPrefix(alias, "alias/aws/"):
		return refuse("NotAuthorizedException", "%s is reserved for AWS managed keys", alias)
	}
	return nil
}
