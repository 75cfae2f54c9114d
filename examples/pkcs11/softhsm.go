//go:build cgo

package main

import (
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// modules is where Debian, Fedora, Homebrew and others have SoftHSM's library.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/*/softhsm/libsofthsm2.so",
	"/usr/lib64/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
}

var errNoSoftHSM = errors.New("SoftHSM is not installed; install it (apt-get install softhsm2), or name another PKCS #11 library with -module")

func findSoftHSM() (module string, err error) {
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		return "", errNoSoftHSM
	}
	for _, pattern := range modules {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0], nil
		}
	}
	return "", errNoSoftHSM
}

// newToken makes a token of SoftHSM's in dir, which is where this process finds
// SoftHSM's tokens from then on.
func newToken(ctx context.Context, module, dir string) (*token, error) {
	tokens, config := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf")
	err := errors.Join(
		os.Mkdir(tokens, 0o700),
		os.WriteFile(config, fmt.Appendf(nil, "directories.tokendir = %s\nlog.level = ERROR\n", tokens), 0o600),
		os.Setenv("SOFTHSM2_CONF", config),
	)
	if err != nil {
		return nil, err
	}
	t := &token{module: module, label: "turret", pin: rand.Text()[:8], key: "release", hungAfter: defaultHungAfter}
	out, err := exec.CommandContext(ctx, "softhsm2-util", "--module", module, "--init-token", "--free",
		"--label", t.label, "--pin", t.pin, "--so-pin", rand.Text()[:8]).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("softhsm2-util: %w: %s", err, out)
	}
	return t, nil
}

// generate makes a key pair in the token: ECDSA on a curve, or RSA where there
// is none.
func (t *token) generate(curve elliptic.Curve) error {
	c, err := crypto11.Configure(&crypto11.Config{Path: t.module, TokenLabel: t.label, Pin: t.pin})
	if err != nil {
		return err
	}
	id := []byte(t.key)
	if curve == nil {
		_, err = c.GenerateRSAKeyPairWithLabel(id, id, 2048)
	} else {
		_, err = c.GenerateECDSAKeyPairWithLabel(id, id, curve)
	}
	return errors.Join(err, c.Close())
}

// pull does to this process what pulling the token and putting it back does: all
// its sessions are gone, and the login with them.
func (t *token) pull() error {
	p := pkcs11.New(t.module) // the same library, which crypto11 has initialized
	if p == nil {
		return fmt.Errorf("cannot load %s", t.module)
	}
	defer p.Destroy()
	slots, err := p.GetSlotList(true)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		if info, err := p.GetTokenInfo(slot); err == nil && info.Label == t.label {
			return p.CloseAllSessions(slot)
		}
	}
	return fmt.Errorf("no token %q", t.label)
}
