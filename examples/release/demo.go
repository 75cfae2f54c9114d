package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// demo signs a file of a temporary folder with each type of key, under faults,
// and lets openssl verify that where it is installed.
func demo(ctx context.Context, srv *kmstest.Server, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "turret-release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "turret-1.0.tar")
	if err := os.WriteFile(file, []byte("This is the release.\n"), 0o600); err != nil {
		return err
	}
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		openssl = ""
	}

	fmt.Fprintf(stdout, "The KMS: %s\n\n", faultsText)
	t := tabwriter.NewWriter(stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "key\tsigned with\tsignature\tKMS calls\topenssl")
	for i, k := range []struct {
		spec types.KeySpec
		pss  bool
	}{
		{types.KeySpecEccNistP256, false},
		{types.KeySpecEccNistP384, false},
		{types.KeySpecEccNistP521, false},
		{types.KeySpecRsa2048, false},
		{types.KeySpecRsa2048, true},
		{types.KeySpecEccNistEdwards25519, false},
	} {
		srv.Inject(kmstest.Faults{})
		key, err := build(ctx, awskms.New(srv.Client(), srv.CreateKey(k.spec)))
		if err != nil {
			return err
		}
		f := faults
		f.Seed = uint64(i) // or each key would meet the same fate
		srv.Inject(f)
		before := srv.Stats().Op("Sign").Requests
		r, err := release(ctx, key, k.pss, file, dir)
		if err = errors.Join(err, key.Close()); err != nil {
			return err
		}
		word, size, err := verify(ctx, openssl, r)
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%s\t%d bytes\t%d\t%s\n", k.spec, r.scheme.name, size, srv.Stats().Op("Sign").Requests-before, word)
	}
	_ = t.Flush()
	fmt.Fprintln(stdout, "\nWith a file: go run ./examples/release FILE")
	return nil
}

// verify runs the command that the reader of a release would, on the file and on
// a changed copy of it, and returns what to say of it, and the signature's size.
func verify(ctx context.Context, openssl string, r released) (word string, size int64, err error) {
	info, err := os.Stat(r.sigFile)
	if err != nil {
		return "", 0, err
	}
	if openssl == "" {
		return "is not installed", info.Size(), nil
	}
	if out, err := exec.CommandContext(ctx, openssl, r.args()...).CombinedOutput(); err != nil {
		return "", 0, fmt.Errorf("openssl refuses the signature: %w\n%s", err, out)
	}
	changed := r
	changed.file += ".changed"
	if err := os.WriteFile(changed.file, []byte("This is not the release.\n"), 0o600); err != nil {
		return "", 0, err
	}
	if err := exec.CommandContext(ctx, openssl, changed.args()...).Run(); err == nil {
		return "", 0, errors.New("openssl accepts the signature for another file")
	}
	return "verifies it, and refuses another file", info.Size(), ctx.Err()
}
