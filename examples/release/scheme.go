package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"strings"

	"github.com/turretgo/turret/examples/internal/command"
)

// scheme is how files are signed with one type of key, and how openssl verifies
// that.
type scheme struct {
	name    string
	opts    crypto.SignerOpts // of hash 0: the file itself is signed
	openssl string            // arguments, with PUB, SIG and FILE for the files
}

var (
	ecdsa256 = scheme{"ECDSA with SHA-256", crypto.SHA256, "dgst -sha256 -verify PUB -signature SIG FILE"}
	ecdsa384 = scheme{"ECDSA with SHA-384", crypto.SHA384, "dgst -sha384 -verify PUB -signature SIG FILE"}
	ecdsa512 = scheme{"ECDSA with SHA-512", crypto.SHA512, "dgst -sha512 -verify PUB -signature SIG FILE"}
	rsaPKCS1 = scheme{"RSA PKCS #1 v1.5 with SHA-256", crypto.SHA256, "dgst -sha256 -verify PUB -signature SIG FILE"}
	rsaPSS   = scheme{"RSA-PSS with SHA-256", &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash},
		"dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest -verify PUB -signature SIG FILE"}
	pureEd25519 = scheme{"Ed25519", crypto.Hash(0), "pkeyutl -verify -pubin -inkey PUB -rawin -sigfile SIG -in FILE"}
)

// curves are the schemes of ECDSA keys: a KMS pairs each curve with one hash.
var curves = map[string]scheme{
	"P-256": ecdsa256,
	"P-384": ecdsa384,
	"P-521": ecdsa512,
}

// schemeFor chooses by the type of the key.
func schemeFor(pub crypto.PublicKey, pss bool) (scheme, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if pss {
			return rsaPSS, nil
		}
		return rsaPKCS1, nil
	case *ecdsa.PublicKey:
		if s, ok := curves[pub.Curve.Params().Name]; ok {
			return s, noPSS(pss)
		}
	case ed25519.PublicKey:
		return pureEd25519, noPSS(pss)
	}
	return scheme{}, fmt.Errorf("a key of type %T is not supported; RSA, P-256, P-384, P-521 and Ed25519 are", pub)
}

func noPSS(pss bool) error {
	if pss {
		return command.Mistakef("-pss is for RSA keys, and this key is none; leave it out")
	}
	return nil
}

// args are openssl's arguments to verify a file.
func (r released) args() []string {
	args := strings.Fields(r.scheme.openssl)
	for i, arg := range args {
		switch arg {
		case "PUB":
			args[i] = r.pubFile
		case "SIG":
			args[i] = r.sigFile
		case "FILE":
			args[i] = r.file
			if strings.HasPrefix(r.file, "-") { // it would look like an option
				args[i] = "./" + r.file
			}
		}
	}
	return args
}

// command is the openssl command that verifies a file, for a shell.
func (r released) command() string {
	words := []string{"openssl"}
	for _, arg := range r.args() {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

// quote makes one word for a shell.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@:", r)
	}
	if word != "" && strings.TrimLeftFunc(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
