package kmstest

import (
	"regexp"
	"strings"
	"time"
)

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

func errDenied(op, arn, because string) *apiError {
	return refuse("AccessDeniedException",
		"User: arn:aws:iam::%s:user/kmstest is not authorized to perform: kms:%s on resource: %s because %s",
		account, op, arn, because)
}
