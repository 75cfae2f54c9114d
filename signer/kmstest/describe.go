package kmstest

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

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
