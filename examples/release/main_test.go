package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/examples/internal/tool"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// TestMain is the program itself where a test starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("RELEASE_IS_THE_PROGRAM") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestItShowsItselfWithEachTypeOfKey(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out strings.Builder
	require.NoError(t, run(t.Context(), nil, &out, io.Discard))
	t.Log("\n" + out.String())
	for _, spec := range []string{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "RSA_2048", "ECC_NIST_EDWARDS25519"} {
		require.Contains(t, out.String(), spec)
	}
	if _, err := exec.LookPath("openssl"); err == nil {
		require.Equal(t, 6, strings.Count(out.String(), "verifies it, and refuses another file\n"))
	} else {
		require.Equal(t, 6, strings.Count(out.String(), "is not installed\n"))
	}
	require.Empty(t, names(t, os.TempDir()), "the folder was left behind")
}

func TestItShowsItselfWithoutOpenSSL(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out strings.Builder
	require.NoError(t, run(t.Context(), nil, &out, io.Discard))
	require.Equal(t, 6, strings.Count(out.String(), "is not installed\n"))
}

// signatures are what there is to sign with.
var signatures = []struct {
	name string
	spec types.KeySpec
	pss  bool
}{
	{"P-256", types.KeySpecEccNistP256, false},
	{"P-384", types.KeySpecEccNistP384, false},
	{"P-521", types.KeySpecEccNistP521, false},
	{"RSA 2048", types.KeySpecRsa2048, false},
	{"RSA 4096", types.KeySpecRsa4096, false},
	{"RSA 2048 PSS", types.KeySpecRsa2048, true},
	{"RSA 3072 PSS", types.KeySpecRsa3072, true},
	{"Ed25519", types.KeySpecEccNistEdwards25519, false},
}

func TestOpenSSLVerifiesByTheCommandThatIsPrinted(t *testing.T) {
	tool.Path(t, "openssl", "openssl")
	srv := server(t)
	for _, tc := range signatures {
		t.Run(tc.name, func(t *testing.T) {
			file := write(t, t.TempDir(), "it's $(a) release-1.0.tar", 4096)
			args := []string{"-key", uri(t, srv, tc.spec), file}
			if tc.pss {
				args = append([]string{"-pss"}, args...)
			}
			command := printed(t, args)
			out, err := shell(t, command)
			require.NoError(t, err, out)
			require.Regexp(t, `Verified OK|Signature Verified Successfully`, out)

			for _, path := range []string{file, file + ".sig"} {
				restore := corrupt(t, path)
				out, err := shell(t, command)
				require.Error(t, err, "openssl accepts a corrupted %s", path)
				require.Regexp(t, `(?i)verif[a-z]* fail`, out)
				restore()
			}
			_, err = shell(t, command)
			require.NoError(t, err)
			if tc.pss {
				_, err = shell(t, regexp.MustCompile(`-sigopt \S+`).ReplaceAllString(command, ""))
				require.Error(t, err, "it is no PSS signature")
			}
		})
	}
}

func TestEmptyLargeAndOddlyNamedFilesAreSigned(t *testing.T) {
	tool.Path(t, "openssl", "openssl")
	t.Chdir(t.TempDir())
	write(t, ".", "empty", 0)
	write(t, ".", "-large", 3<<20)
	for _, args := range [][]string{{"empty"}, {"-pss", "empty"}, {"--", "-large"}} {
		out, err := shell(t, printed(t, args))
		require.NoError(t, err, out)
	}
}

func TestOutputGoesToAnotherFolder(t *testing.T) {
	dir, dist := t.TempDir(), t.TempDir()
	file := write(t, dir, "file", 10)
	printed(t, []string{"-out", dist, file})
	require.Equal(t, []string{"file"}, names(t, dir))
	require.Equal(t, []string{"file.pub.pem", "file.sig"}, names(t, dist))
	info, err := os.Stat(filepath.Join(dist, "file.sig"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode())
}

func TestASignatureIsReplaced(t *testing.T) {
	tool.Path(t, "openssl", "openssl")
	dir := t.TempDir()
	file := write(t, dir, "file", 10)
	printed(t, []string{file})
	write(t, dir, "file", 20)
	out, err := shell(t, printed(t, []string{file}))
	require.NoError(t, err, out)
	require.Equal(t, []string{"file", "file.pub.pem", "file.sig"}, names(t, dir))
}

func TestEd25519SignsWhatKMSTakes(t *testing.T) {
	srv := server(t)
	key := open(t, srv, types.KeySpecEccNistEdwards25519)
	for size, want := range map[int]string{
		0:    "the file is empty",
		1:    "",
		4096: "",
		4097: "KMS takes no more than 4096 bytes; sign it with an ECDSA or RSA key, which signs a digest",
	} {
		dir := t.TempDir()
		file := write(t, dir, "file", size)
		before := srv.Stats().Op("Sign").Requests
		_, err := release(t.Context(), key, false, file, dir)
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, file+" was not signed: ")
		require.ErrorContains(t, err, want)
		require.Equal(t, []string{"file"}, names(t, dir))
		require.Equal(t, before, srv.Stats().Op("Sign").Requests, "KMS was asked")
	}
}

// zeros has n bytes to read, and counts those that were read.
type zeros struct{ n, read int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.read >= z.n {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n-z.read)
	clear(p[:n])
	z.read += n
	return int(n), nil
}

func TestALargeFileDoesNotGoIntoMemory(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	file := &zeros{n: 64 << 20}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sig, err := sign(key, crypto.SHA256, file)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))

	h := sha256.New()
	_, err = io.Copy(h, &zeros{n: 64 << 20})
	require.NoError(t, err)
	require.True(t, ecdsa.VerifyASN1(&key.PublicKey, h.Sum(nil), sig))
}

func TestALargeFileIsNotReadForEd25519(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	file := &zeros{n: 1 << 40}
	_, err = sign(key, crypto.Hash(0), file)
	require.ErrorContains(t, err, "KMS takes no more than 4096 bytes")
	require.Equal(t, int64(4097), file.read)
}

// interrupted is a file during whose reading the user interrupts.
type interrupted struct {
	zeros
	interrupt func()
}

func (i *interrupted) Read(p []byte) (int, error) {
	if i.read > 1<<20 {
		i.interrupt()
	}
	return i.zeros.Read(p)
}

func TestAnInterruptEndsTheReading(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	file := &interrupted{zeros{n: 1 << 40}, cancel}
	_, err = sign(key, crypto.SHA256, &reader{ctx, file})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, file.read, int64(2<<20))
}

func TestAnInterruptEndsTheSigning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := server(t)
		key := open(t, srv, types.KeySpecEccNistP256)
		srv.Inject(kmstest.Faults{Hang: 1})
		dir := t.TempDir()
		file := write(t, dir, "file", 10)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(300*time.Millisecond, cancel)
		start := time.Now()
		_, err := release(ctx, key, false, file, dir)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 300*time.Millisecond, time.Since(start))
		require.Equal(t, []string{"file"}, names(t, dir))
	})
}

func TestAnOutageEndsWithItsReasonAndLeavesNothing(t *testing.T) {
	for want, faults := range map[string]kmstest.Faults{
		"503":                          {Down: true},
		"ThrottlingException":          {Throttle: 1},
		"KMS had not answered in time": {Hang: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := server(t)
			key := open(t, srv, types.KeySpecEccNistP256)
			srv.Inject(faults)
			dir := t.TempDir()
			file := write(t, dir, "file", 10)
			start := time.Now()
			_, err := release(t.Context(), key, false, file, dir)
			require.ErrorContains(t, err, "file was not signed: ")
			require.ErrorContains(t, err, want)
			require.LessOrEqual(t, time.Since(start), 10*time.Second) // the Timeout of signer.Defaults
			require.Equal(t, []string{"file"}, names(t, dir))
		})
	}
}

func TestAnOutageShorterThanTheTimeoutIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := server(t)
		key := open(t, srv, types.KeySpecEccNistP256)
		srv.Inject(kmstest.Faults{Down: true})
		time.AfterFunc(5*time.Second, func() { srv.Inject(kmstest.Faults{}) })
		dir := t.TempDir()
		_, err := release(t.Context(), key, false, write(t, dir, "file", 10), dir)
		require.NoError(t, err)
		require.Equal(t, []string{"file", "file.pub.pem", "file.sig"}, names(t, dir))
	})
}

func TestTheProgramFailsWhenKMSIsDown(t *testing.T) {
	srv := server(t)
	dir := t.TempDir()
	file := write(t, dir, "file", 10)
	key := uri(t, srv, types.KeySpecEccNistP256)
	srv.Inject(kmstest.Faults{Down: true})
	var stderr bytes.Buffer
	cmd := program(t, "-key", key, file)
	cmd.Stderr = &stderr
	err := cmd.Run()
	t.Log(stderr.String())
	require.Equal(t, 1, cmd.ProcessState.ExitCode(), "%v", err)
	require.Regexp(t, `^release: signer: the key could not be looked up: .*503`, stderr.String())
	require.Equal(t, []string{"file"}, names(t, dir))
}

func TestTheProgramEndsByAnInterrupt(t *testing.T) {
	srv := server(t)
	dir := t.TempDir()
	file := write(t, dir, "file", 10)
	key := uri(t, srv, types.KeySpecEccNistP256)
	srv.Inject(kmstest.Faults{Hang: 1})
	var stderr bytes.Buffer
	cmd := program(t, "-key", key, file)
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return srv.Stats().Total().InFlight > 0 }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	err := cmd.Wait()
	require.Equal(t, 1, cmd.ProcessState.ExitCode(), "%v", err)
	require.Contains(t, stderr.String(), "context canceled")
	require.Equal(t, []string{"file"}, names(t, dir))
}

// program is this example as a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "RELEASE_IS_THE_PROGRAM=1")
	return cmd
}

func TestAFailedReplacementLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "file", 10)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "file.sig", "in the way"), 0o755))
	err := run(t.Context(), []string{file}, io.Discard, io.Discard)
	require.ErrorContains(t, err, "file.sig")
	require.Equal(t, []string{"file", "file.sig"}, names(t, dir))

	earlier := write(t, dir, "file.pub.pem", 7)
	require.Error(t, run(t.Context(), []string{file}, io.Discard, io.Discard))
	require.FileExists(t, earlier, "an earlier run's was removed")
	require.NoError(t, os.Remove(earlier))

	err = run(t.Context(), []string{"-out", filepath.Join(dir, "nowhere"), file}, io.Discard, io.Discard)
	require.ErrorContains(t, err, "no such file or directory")
	require.Equal(t, []string{"file", "file.sig"}, names(t, dir))
}

func TestMistakesGetOneClearLine(t *testing.T) {
	srv := server(t)
	dir := t.TempDir()
	file := write(t, dir, "file", 10)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-nope"}, "flag provided but not defined: -nope; -h lists the flags"},
		{[]string{file, file}, "is one too many; flags come first, and at most 1 other after them"},
		{[]string{"-pss"}, "there is no file to sign; name it after the flags"},
		{[]string{"-key", "kms:foo", file}, "is no key URI"},
		{[]string{"-key", "", file}, `flag -key: it is empty; a key's URI reads awskms:///alias/release?region=eu-west-1`}, // -key "$UNSET"
		{[]string{"-pss", "-key", uri(t, srv, types.KeySpecEccNistP384), file}, "-pss is for RSA keys, and this key is none; leave it out"},
		{[]string{"-pss", "-key", uri(t, srv, types.KeySpecEccNistEdwards25519), file}, "-pss is for RSA keys"},
		{[]string{filepath.Join(dir, "missing")}, "no such file"},
		{[]string{dir}, "it is no regular file"},
		{[]string{os.DevNull}, "it is no regular file"},
	} {
		var out, stderr strings.Builder
		err := run(t.Context(), tc.args, &out, &stderr)
		require.ErrorContains(t, err, tc.want)
		require.NotContains(t, err.Error(), "\n")
		require.Empty(t, stderr.String())
		require.Empty(t, out.String())
	}
	require.Equal(t, []string{"file"}, names(t, dir))
	var help strings.Builder
	require.Error(t, run(t.Context(), []string{"-h"}, io.Discard, &help))
	require.Contains(t, help.String(), "-out")
}

func TestOtherKeysAreRefused(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	_, err = schemeFor(key.Public(), false)
	require.ErrorContains(t, err, "is not supported; RSA, P-256, P-384, P-521 and Ed25519 are")
}

func server(t *testing.T) *kmstest.Server {
	t.Helper()
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	return srv
}

func open(t *testing.T, srv *kmstest.Server, spec types.KeySpec) *signer.Signer {
	t.Helper()
	key, err := build(t.Context(), awskms.New(srv.Client(), srv.CreateKey(spec)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, key.Close()) })
	return key
}

// uri makes the SDK's environment, and names a new key of srv's.
func uri(t *testing.T, srv *kmstest.Server, spec types.KeySpec) string {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return "awskms:///" + srv.CreateKey(spec) + "?region=us-east-1&endpoint=" + srv.Endpoint()
}

// printed runs the example and returns the command that it prints.
func printed(t *testing.T, args []string) string {
	t.Helper()
	var out strings.Builder
	require.NoError(t, run(t.Context(), args, &out, io.Discard))
	found := regexp.MustCompile(`(?m)^  (openssl .*)$`).FindStringSubmatch(out.String())
	require.NotNil(t, found, out.String())
	return found[1]
}

func shell(t *testing.T, command string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), tool.Path(t, "sh", "sh"), "-c", command).CombinedOutput()
	return string(out), err
}

// write makes a file of so many bytes.
func write(t *testing.T, dir, name string, size int) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600))
	return path
}

// corrupt changes the last byte of a file, and returns what undoes that.
func corrupt(t *testing.T, path string) (restore func()) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	corrupted := bytes.Clone(data)
	corrupted[len(data)-1] ^= 1
	require.NoError(t, os.WriteFile(path, corrupted, 0o600))
	return func() { require.NoError(t, os.WriteFile(path, data, 0o600)) }
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
