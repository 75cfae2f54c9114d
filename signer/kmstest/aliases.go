package kmstest

import (
	"regexp"
	"strings"
	"time"
)

// SetAlias gives a key another name in this Region, such as "alias/release". An
// alias that exists is moved: from the next request on, who signs under that name
// signs with another key.
//
// It panics if alias cannot be the name of one or there is no such key.
func (s *Server) SetAlias(alias, keyID string) {
	if err := checkAlias(alias); err != nil {
		panic("kmstest: SetAlias: " + err.Error())
	}
	s.mustUpdate("SetAlias", keyID, func(k *key) { s.aliases[alias] = k.id })
}

// aliased is the key that an alias stands for, nil if there is none: an alias is
// deleted with its key. The caller holds family.mu.
func (s *Server) aliased(alias string) *key {
	return s.existing(s.aliases[alias])
}

var aliasPattern = regexp.MustCompile(`^alias/[a-zA-Z0-9:/_-]{1,250}$`)

// checkAlias refuses what cannot be the name of an alias of the customer's.
func checkAlias(alias string) error {
	switch {
	case !strings.HasPrefix(alias, "alias/"):
		return errValidation("Invalid identifier: %q does not begin with alias/", alias)
	case !aliasPattern.MatchString(alias):
		var c constraints
		c.fail("'"+alias+"' ", "aliasName", "Member must satisfy regular expression pattern: "+aliasPattern.String())
		return c.err()
	case strings.HasPrefix(alias, "alias/aws/"):
		return refuse("NotAuthorizedException", "%s is reserved for AWS managed keys", alias)
	}
	return nil
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
