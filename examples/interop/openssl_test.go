package interop

import (
	"crypto"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/examples/internal/tool"
)

// openSSL is "openssl dgst -verify", and "openssl pkeyutl -verify" for Ed25519.
func openSSL(t *testing.T, s signature) error {
	openssl := tool.Path(t, "openssl", "openssl")
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	key := file("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: s.publicKey}))
	sig := file("signature", s.sig)
	message := file("message", s.message)

	cmd := exec.CommandContext(t.Context(), openssl, "pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", message, "-sigfile", sig)
	if h := s.opts.HashFunc(); h != 0 {
		args := []string{"dgst", map[crypto.Hash]string{crypto.SHA256: "-sha256", crypto.SHA384: "-sha384", crypto.SHA512: "-sha512"}[h], "-verify", key}
		if _, ok := s.opts.(*rsa.PSSOptions); ok {
			args = append(args, "-sigopt", "rsa_padding_mode:pss", "-sigopt", fmt.Sprintf("rsa_pss_saltlen:%d", h.Size()))
		}
		cmd = exec.CommandContext(t.Context(), openssl, append(args, "-signature", sig, message)...)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if !strings.Contains(string(out), "Verified OK") && !strings.Contains(string(out), "Signature Verified Successfully") {
		return fmt.Errorf("openssl says: %s", out)
	}
	return nil
}
