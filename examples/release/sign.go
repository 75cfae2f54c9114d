package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/turretgo/turret/signer"
)

// released is a file, and what was written for it.
type released struct {
	file, sigFile, pubFile string
	scheme                 scheme
}

// release signs a file and writes signature and public key to dir.
func release(ctx context.Context, key *signer.Signer, pss bool, file, dir string) (released, error) {
	s, err := schemeFor(key.Public(), pss)
	if err != nil {
		return released{}, err
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return released{}, err
	}
	sig, err := signFile(ctx, key.WithContext(ctx), s.opts, file)
	if err != nil {
		return released{}, fmt.Errorf("%s was not signed: %w", file, err)
	}
	base := filepath.Join(dir, filepath.Base(file))
	r := released{file: file, sigFile: base + ".sig", pubFile: base + ".pub.pem", scheme: s}
	return r, writeAll(
		output{r.pubFile, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub})},
		output{r.sigFile, sig},
	)
}

// signFile signs the contents of a regular file. Ctx ends the reading; the
// signing ends with what key is bound to.
func signFile(ctx context.Context, key crypto.Signer, opts crypto.SignerOpts, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file, which can be read again to verify it")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sign(key, opts, &reader{ctx, f})
}

// maxMessage is the longest message, in bytes, that KMS signs whole.
const maxMessage = 4096

// sign signs what r has to read: its digest, which takes no memory, or the whole
// with a key that signs no digests.
func sign(key crypto.Signer, opts crypto.SignerOpts, r io.Reader) ([]byte, error) {
	if opts.HashFunc() != 0 {
		h := opts.HashFunc().New()
		if _, err := io.Copy(h, r); err != nil {
			return nil, err
		}
		return key.Sign(nil, h.Sum(nil), opts)
	}
	message, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	switch {
	case err != nil:
		return nil, err
	case len(message) > maxMessage:
		return nil, fmt.Errorf("an Ed25519 key signs the file itself, and KMS takes no more than %d bytes; sign it with an ECDSA or RSA key, which signs a digest", maxMessage)
	case len(message) == 0:
		return nil, errors.New("the file is empty, an Ed25519 key signs the file itself, and KMS takes no empty message; sign it with an ECDSA or RSA key, which signs a digest")
	}
	return key.Sign(nil, message, opts)
}

// reader reads until its context ends, so that an interrupt ends a long read.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
