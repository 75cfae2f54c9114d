package signer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"filippo.io/mldsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/turretgo/turret"
)

// verifyLayer lets no signature pass that does not verify under pub.
//
// KMS signs in hardware that can fail, behind networks and proxies that can lie,
// and one faulty RSA-CRT signature gives the private key away to whoever sees it.
func verifyLayer(pub crypto.PublicKey) Layer { return checkLayer("verify", pub, verify) }

// presenceLayer is all that is left of that with SkipVerify.
func presenceLayer(pub crypto.PublicKey) Layer {
	return checkLayer("skip verify", pub, func(_ crypto.PublicKey, _ Request, sig []byte) error { return present(sig) })
}

func checkLayer(name string, pub crypto.PublicKey, check func(crypto.PublicKey, Request, []byte) error) Layer {
	return func(key Service) Service {
		checked := turret.LayerFunc(name, checking(pub, check))(key)
		return newCounted(name, checked, key)
	}
}

func checking(pub crypto.PublicKey, check func(crypto.PublicKey, Request, []byte) error) func(context.Context, Request, Service) (Response, error) {
	return func(ctx context.Context, req Request, next Service) (Response, error) {
		if err := checkRequest(pub, req); err != nil {
			return Response{}, err
		}
		resp, err := next.Call(ctx, req)
		if err != nil {
			return Response{}, err
		}
		if err := check(pub, req, resp.Signature); err != nil {
			return Response{}, &Error{
				KeyID:     resp.KeyID,
				KeyType:   keyType(pub),
				Algorithm: req.Algorithm,
				Reason:    err.Error() + "; it was thrown away",
				Err:       turret.WithClass(ErrBadSignature, turret.Transient),
			}
		}
		return resp, nil
	}
}

// checkRequest returns an [*Error] for what no Signer asks, so that a layer above
// made it. Some keys would sign it, and their signature would verify: ECDSA takes
// whatever it is given for a digest.
func checkRequest(pub crypto.PublicKey, req Request) error {
	refuse := func(format string, args ...any) error {
		return &Error{KeyType: keyType(pub), Algorithm: req.Algorithm, Reason: "a layer changed the request to one that cannot be signed: " + fmt.Sprintf(format, args...)}
	}
	f, h := familyOf(pub), req.Algorithm.Hash()
	switch {
	case !slices.Contains(f.algorithms, req.Algorithm):
		return refuse("an %s key has no algorithm %q; it may have %s", keyType(pub), req.Algorithm, join(f.algorithms))
	case req.MessageType == Raw:
		return nil
	case req.MessageType != Digest || h == 0:
		return refuse("%s does not sign what is of type %q", req.Algorithm, req.MessageType)
	case len(req.Message) != h.Size():
		return refuse("%d bytes are no %v digest; one has %d", len(req.Message), h, h.Size())
	}
	return nil
}

func present(sig []byte) error {
	if len(sig) == 0 {
		return errors.New("the key answered with an empty signature")
	}
	return nil
}

// verify returns an error unless sig is a signature of req under pub.
func verify(pub crypto.PublicKey, req Request, sig []byte) error {
	if err := present(sig); err != nil {
		return err
	}
	if !verifies(pub, schemes[req.Algorithm], req, sig) {
		return errors.New("the key answered with a signature that its public half does not verify")
	}
	return nil
}

func verifies(pub crypto.PublicKey, s scheme, req Request, sig []byte) bool {
	signed := req.Message
	if req.MessageType == Raw && s.hash != 0 {
		h := s.hash.New()
		h.Write(req.Message)
		signed = h.Sum(nil)
	}
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if s.pss {
			salt := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(pub, s.hash, signed, sig, salt) == nil
		}
		return rsa.VerifyPKCS1v15(pub, s.hash, signed, sig) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(pub, signed, sig)
	case *secp256k1.PublicKey:
		parsed, err := secp256k1ecdsa.ParseDERSignature(sig)
		return err == nil && parsed.Verify(signed, pub) // whatever half of the range its s is in
	case ed25519.PublicKey:
		return ed25519.Verify(pub, signed, sig)
	case *mldsa.PublicKey:
		return mldsa.Verify(pub, signed, sig, nil) == nil
	}
	return false
}
