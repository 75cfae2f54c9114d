package kmstest

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

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
	s.family.mu.Lock()
	defer s.family.mu.Unlock()
	k := s.addKey(m, time.Time{})
	k.description = in.Description
	return &createKeyOutput{s.metadata(k)}, nil
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
