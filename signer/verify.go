package signer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"

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
	return turret.LayerFunc(name, func(ctx context.Context, req Request, next Service) (Response, error) {
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
	})
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
	s, known := schemes[req.Algorithm]
	digest := req.Message
	if req.MessageType == Raw && s.hash != 0 {
		h := s.hash.New()
		h.Write(req.Message)
		digest = h.Sum(nil)
	}
	valid := false
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if s.pss {
			opts := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			valid = rsa.VerifyPSS(pub, s.hash, digest, sig, &opts) == nil
		} else {
			valid = rsa.VerifyPKCS1v15(pub, s.hash, digest, sig) == nil
		}
	case *ecdsa.PublicKey:
		valid = ecdsa.VerifyASN1(pub, digest, sig)
	case ed25519.PublicKey:
		valid = ed25519.Verify(pub, req.Message, sig)
	}
	if !known || !valid {
		return errors.New("the key answered with a signature that its public half does not verify")
	}
	return nil
}
