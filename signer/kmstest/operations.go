package kmstest

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// ReplicationTime is how long a key that ReplicateKey made stays in state
// Creating, in which all but DescribeKey is refused with a
// KMSInvalidStateException. In AWS it varies.
const ReplicationTime = 2 * time.Second

// A timestamp is a time as awsJson1.1 has it: seconds since 1970, with a fraction.
type timestamp time.Time

func (t timestamp) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Time(t).UnixMilli())/1000, 'f', -1, 64), nil
}

var _ json.Marshaler = timestamp{}

// keyMetadata is what DescribeKey and the operations that make keys tell of one.
type keyMetadata struct {
	AWSAccountID             string `json:"AWSAccountId"`
	KeyID                    string `json:"KeyId"`
	ARN                      string `json:"Arn"`
	CreationDate             timestamp
	DeletionDate             *timestamp `json:",omitempty"`
	Description              string
	Enabled                  bool
	KeyManager               types.KeyManagerType
	KeySpec                  types.KeySpec
	CustomerMasterKeySpec    types.KeySpec // KeySpec's deprecated name
	KeyState                 types.KeyState
	KeyUsage                 types.KeyUsageType
	Origin                   types.OriginType
	SigningAlgorithms        []types.SigningAlgorithmSpec      `json:",omitempty"`
	EncryptionAlgorithms     []types.EncryptionAlgorithmSpec   `json:",omitempty"`
	KeyAgreementAlgorithms   []types.KeyAgreementAlgorithmSpec `json:",omitempty"`
	MultiRegion              bool
	MultiRegionConfiguration *multiRegionConfiguration `json:",omitempty"`
}

type multiRegionConfiguration struct {
	MultiRegionKeyType types.MultiRegionKeyType
	PrimaryKey         multiRegionKey
	ReplicaKeys        []multiRegionKey
}

type multiRegionKey struct {
	ARN    string `json:"Arn"`
	Region string
}

// metadata describes a key. The caller holds family.mu.
func (s *Server) metadata(k *key) keyMetadata {
	state := k.state(time.Now())
	md := keyMetadata{
		AWSAccountID:           account,
		KeyID:                  k.id,
		ARN:                    k.arn,
		CreationDate:           timestamp(k.created),
		Description:            k.description,
		Enabled:                state == types.KeyStateEnabled,
		KeyManager:             types.KeyManagerTypeCustomer,
		KeySpec:                k.spec,
		CustomerMasterKeySpec:  k.spec,
		KeyState:               state,
		KeyUsage:               k.usage,
		Origin:                 types.OriginTypeAwsKms,
		SigningAlgorithms:      k.signing,
		EncryptionAlgorithms:   k.encryption,
		KeyAgreementAlgorithms: k.keyAgreement,
		MultiRegion:            k.multiRegion,
	}
	if !k.deleteAt.IsZero() {
		deletion := timestamp(k.deleteAt)
		md.DeletionDate = &deletion
	}
	if !k.multiRegion {
		return md
	}
	regions := &multiRegionConfiguration{
		MultiRegionKeyType: types.MultiRegionKeyTypeReplica,
		ReplicaKeys:        []multiRegionKey{},
	}
	if k.primary == s.region {
		regions.MultiRegionKeyType = types.MultiRegionKeyTypePrimary
	}
	for _, region := range slices.Sorted(maps.Keys(s.family.servers)) {
		there := s.family.servers[region].existing(k.id)
		switch {
		case there == nil:
		case region == k.primary:
			regions.PrimaryKey = multiRegionKey{there.arn, region}
		default:
			regions.ReplicaKeys = append(regions.ReplicaKeys, multiRegionKey{there.arn, region})
		}
	}
	md.MultiRegionConfiguration = regions
	return md
}

type createKeyInput struct {
	KeySpec               types.KeySpec
	CustomerMasterKeySpec types.KeySpec
	KeyUsage              types.KeyUsageType
	MultiRegion           bool
	Description           string
	Origin                types.OriginType
}

type createKeyOutput struct{ KeyMetadata keyMetadata }

func (s *Server) createKey(in createKeyInput) (*createKeyOutput, error) {
	if in.KeySpec == "" {
		in.KeySpec = in.CustomerMasterKeySpec
	}
	if in.KeySpec == "" {
		in.KeySpec = types.KeySpecSymmetricDefault
	}
	var c constraints
	enum(&c, "keySpec", in.KeySpec, in.KeySpec.Values())
	if in.KeyUsage != "" {
		enum(&c, "keyUsage", in.KeyUsage, in.KeyUsage.Values())
	}
	c.length("description", in.Description, 0, 8192)
	if err := c.err(); err != nil {
		return nil, err
	}
	if in.Origin != "" && in.Origin != types.OriginTypeAwsKms {
		return nil, errUnsupported("Origin %s is not supported by this server.", in.Origin)
	}
	if in.KeyUsage == "" {
		if in.KeySpec != types.KeySpecSymmetricDefault {
			return nil, errValidation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
		}
		in.KeyUsage = types.KeyUsageTypeEncryptDecrypt
	}
	m, err := newMaterial(in.KeySpec, in.KeyUsage, in.MultiRegion, s.region)
	if err != nil {
		return nil, err
	}
	m.description = in.Description

	s.family.mu.Lock()
	defer s.family.mu.Unlock()
	return &createKeyOutput{s.metadata(s.addKey(m, time.Time{}))}, nil
}

// A keyRequest is the input of operations on a key that ask for nothing else.
type keyRequest struct {
	KeyID string `json:"KeyId"`
}

// withKey does an operation on the key that it names.
func withKey[Out any](s *Server, op, keyID string, do func(*key) (*Out, error)) (*Out, error) {
	var c constraints
	c.length("keyId", keyID, 1, maxKeyID)
	if err := c.err(); err != nil {
		return nil, err
	}
	s.family.mu.Lock()
	defer s.family.mu.Unlock()
	k, err := s.lookup(op, keyID)
	if err != nil {
		return nil, err
	}
	return do(k)
}

type describeKeyOutput struct{ KeyMetadata keyMetadata }

func (s *Server) describeKey(in keyRequest) (*describeKeyOutput, error) {
	return withKey(s, "DescribeKey", in.KeyID, func(k *key) (*describeKeyOutput, error) {
		return &describeKeyOutput{s.metadata(k)}, nil
	})
}

type getPublicKeyOutput struct {
	KeyID                  string `json:"KeyId"`
	KeySpec                types.KeySpec
	CustomerMasterKeySpec  types.KeySpec // KeySpec's deprecated name
	KeyUsage               types.KeyUsageType
	PublicKey              []byte
	SigningAlgorithms      []types.SigningAlgorithmSpec      `json:",omitempty"`
	EncryptionAlgorithms   []types.EncryptionAlgorithmSpec   `json:",omitempty"`
	KeyAgreementAlgorithms []types.KeyAgreementAlgorithmSpec `json:",omitempty"`
}

func (s *Server) getPublicKey(in keyRequest) (*getPublicKeyOutput, error) {
	return withKey(s, "GetPublicKey", in.KeyID, func(k *key) (*getPublicKeyOutput, error) {
		if err := k.usable(time.Now()); err != nil {
			return nil, err
		}
		if k.private == nil {
			return nil, errUnsupported("%s is a symmetric key, which has no public half.", k.arn)
		}
		return &getPublicKeyOutput{
			KeyID:                  k.arn,
			KeySpec:                k.spec,
			CustomerMasterKeySpec:  k.spec,
			KeyUsage:               k.usage,
			PublicKey:              k.public,
			SigningAlgorithms:      k.signing,
			EncryptionAlgorithms:   k.encryption,
			KeyAgreementAlgorithms: k.keyAgreement,
		}, nil
	})
}

// nothing is the output of operations that have none.
type nothing struct{}

func (s *Server) enableKey(in keyRequest) (*nothing, error) {
	return s.setDisabled("EnableKey", in, false)
}

func (s *Server) disableKey(in keyRequest) (*nothing, error) {
	return s.setDisabled("DisableKey", in, true)
}

func (s *Server) setDisabled(op string, in keyRequest, disabled bool) (*nothing, error) {
	return withKey(s, op, in.KeyID, func(k *key) (*nothing, error) {
		if err := k.settled(time.Now()); err != nil {
			return nil, err
		}
		k.disabled = disabled
		return &nothing{}, nil
	})
}

type scheduleKeyDeletionInput struct {
	keyRequest
	PendingWindowInDays *int
}

type scheduleKeyDeletionOutput struct {
	KeyID               string `json:"KeyId"`
	DeletionDate        timestamp
	KeyState            types.KeyState
	PendingWindowInDays int
}

func (s *Server) scheduleKeyDeletion(in scheduleKeyDeletionInput) (*scheduleKeyDeletionOutput, error) {
	days := 30
	if in.PendingWindowInDays != nil {
		days = *in.PendingWindowInDays
	}
	if days < 7 || days > 30 {
		return nil, errValidation("PendingWindowInDays must be between 7 and 30 days, inclusive.")
	}
	return withKey(s, "ScheduleKeyDeletion", in.KeyID, func(k *key) (*scheduleKeyDeletionOutput, error) {
		now := time.Now()
		if err := k.settled(now); err != nil {
			return nil, err
		}
		k.deleteAt = now.AddDate(0, 0, days)
		return &scheduleKeyDeletionOutput{
			KeyID:               k.arn,
			DeletionDate:        timestamp(k.deleteAt),
			KeyState:            k.state(now),
			PendingWindowInDays: days,
		}, nil
	})
}

type cancelKeyDeletionOutput struct {
	KeyID string `json:"KeyId"`
}

func (s *Server) cancelKeyDeletion(in keyRequest) (*cancelKeyDeletionOutput, error) {
	return withKey(s, "CancelKeyDeletion", in.KeyID, func(k *key) (*cancelKeyDeletionOutput, error) {
		if k.deleteAt.IsZero() {
			return nil, refuse("KMSInvalidStateException", "%s is not pending deletion.", k.arn)
		}
		k.deleteAt = time.Time{}
		k.disabled = true // AWS leaves it to EnableKey
		return &cancelKeyDeletionOutput{k.arn}, nil
	})
}

type replicateKeyInput struct {
	keyRequest
	ReplicaRegion string
	Description   string
}

type replicateKeyOutput struct{ ReplicaKeyMetadata keyMetadata }

func (s *Server) replicateKey(in replicateKeyInput) (*replicateKeyOutput, error) {
	if !regionName.MatchString(in.ReplicaRegion) || len(in.ReplicaRegion) > 32 {
		return nil, errValidation("1 validation error detected: Value '%s' at 'replicaRegion' failed to satisfy constraint: Member must satisfy regular expression pattern: ^([a-z]+-){2,3}\\d+$", in.ReplicaRegion)
	}
	return withKey(s, "ReplicateKey", in.KeyID, func(k *key) (*replicateKeyOutput, error) {
		now := time.Now()
		if err := k.usable(now); err != nil {
			return nil, err
		}
		if !k.multiRegion || k.primary != s.region {
			return nil, errUnsupported("%s is not a multi-Region primary key.", k.arn)
		}
		replica := s.family.server(in.ReplicaRegion)
		if there := replica.existing(k.id); there != nil {
			return nil, refuse("AlreadyExistsException", "%s already exists.", there.arn)
		}
		copied := replica.addKey(k.material, now.Add(ReplicationTime))
		return &replicateKeyOutput{replica.metadata(copied)}, nil
	})
}

type aliasInput struct {
	AliasName   string
	TargetKeyID string `json:"TargetKeyId"`
}

func (s *Server) createAlias(in aliasInput) (*nothing, error) {
	return s.pointAlias("CreateAlias", in, func(k *key) error {
		if s.aliased(in.AliasName) != nil {
			return refuse("AlreadyExistsException", "An alias with the name %s already exists", s.arn(in.AliasName))
		}
		return nil
	})
}

func (s *Server) updateAlias(in aliasInput) (*nothing, error) {
	return s.pointAlias("UpdateAlias", in, func(k *key) error {
		old := s.aliased(in.AliasName)
		if old == nil {
			return errNotFound("Alias %s is not found.", s.arn(in.AliasName))
		}
		if old.usage != k.usage {
			return errValidation("Alias %s cannot move from a key of usage %s to one of usage %s.", s.arn(in.AliasName), old.usage, k.usage)
		}
		return nil
	})
}

// pointAlias points an alias at a key, if allowed to.
func (s *Server) pointAlias(op string, in aliasInput, allow func(*key) error) (*nothing, error) {
	if err := checkAlias(in.AliasName); err != nil {
		return nil, err
	}
	if strings.Contains(in.TargetKeyID, "alias/") { // a name or an ARN
		return nil, errValidation("Aliases must refer to keys. Not aliases")
	}
	return withKey(s, op, in.TargetKeyID, func(k *key) (*nothing, error) {
		if err := k.settled(time.Now()); err != nil {
			return nil, err
		}
		if err := allow(k); err != nil {
			return nil, err
		}
		s.aliases[in.AliasName] = k.id
		return &nothing{}, nil
	})
}

func (s *Server) deleteAlias(in aliasInput) (*nothing, error) {
	if err := checkAlias(in.AliasName); err != nil {
		return nil, err
	}
	s.family.mu.Lock()
	defer s.family.mu.Unlock()
	if s.aliased(in.AliasName) == nil {
		return nil, errNotFound("Alias %s is not found.", s.arn(in.AliasName))
	}
	delete(s.aliases, in.AliasName)
	return &nothing{}, nil
}
