package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/turretgo/turret/examples/internal/tool"
	"github.com/turretgo/turret/signer/kmstest"
)

// shell runs programs in a home of their own, with an agent.
type shell struct {
	home string
	env  []string
}

func (r *running) shell(t *testing.T) shell {
	t.Helper()
	home := folder(t)
	return shell{home, []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"TMPDIR=" + home, // where git leaves a copy of a literal key behind
		"SSH_AUTH_SOCK=" + r.socket,
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
	}}
}

// run returns what a program prints, on either output.
func (s shell) run(t *testing.T, stdin, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = s.home, s.env, strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s shell) must(t *testing.T, stdin, program string, args ...string) string {
	t.Helper()
	out, err := s.run(t, stdin, program, args...)
	require.NoError(t, err, "%s %q: %s", program, args, out)
	return out
}

// file writes a file into the home.
func (s shell) file(t *testing.T, name, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(s.home, name)
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
	return path
}

// publicKey returns a key as authorized_keys has it.
func (r *running) publicKey(t *testing.T, name string) string {
	t.Helper()
	return r.key(t, name).String() + "\n"
}

func TestSSHAddListsTheKeys(t *testing.T) {
	sshAdd := tool.Path(t, "ssh-add", "openssh-client")
	a := start(t, allKeys)
	sh := a.shell(t)
	long, short := sh.must(t, "", sshAdd, "-L"), sh.must(t, "", sshAdd, "-l")
	for name := range allKeys {
		require.Contains(t, long, a.publicKey(t, name))
		require.Contains(t, short, ssh.FingerprintSHA256(a.key(t, name))+" "+name+" (")
	}
	require.Contains(t, short, "(RSA)")
	for name := range allKeys {
		if name == "rsa" {
			continue // which some versions test with SHA-1
		}
		sh.must(t, "", sshAdd, "-T", sh.file(t, name+".pub", a.publicKey(t, name), 0o600))
	}
}

func TestSSHAddLocksAndUnlocks(t *testing.T) {
	sshAdd := tool.Path(t, "ssh-add", "openssh-client")
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	sh := a.shell(t)
	sh.env = append(sh.env, "SSH_ASKPASS_REQUIRE=force", "SSH_ASKPASS="+sh.file(t, "askpass", "#!/bin/sh\necho \"$PASSPHRASE\"\n", 0o700))
	with := func(passphrase string) shell {
		return shell{sh.home, append(sh.env[:len(sh.env):len(sh.env)], "PASSPHRASE="+passphrase)}
	}
	require.Contains(t, with("right").must(t, "", sshAdd, "-x"), "Agent locked.")
	out, err := sh.run(t, "", sshAdd, "-l")
	require.Error(t, err)
	require.Contains(t, out, "The agent has no identities.")
	_, err = with("wrong").run(t, "", sshAdd, "-X")
	require.Error(t, err)
	require.Contains(t, with("right").must(t, "", sshAdd, "-X"), "Agent unlocked.")
	require.Contains(t, sh.must(t, "", sshAdd, "-l"), "p256")
}

func TestSSHAddNeitherAddsNorDeletes(t *testing.T) {
	sshAdd := tool.Path(t, "ssh-add", "openssh-client")
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	sh := a.shell(t)
	_, private := keyPair(t)
	for _, args := range [][]string{{sh.file(t, "id", private, 0o600)}, {"-t", "60", filepath.Join(sh.home, "id")}, {"-D"}, {"-d", sh.file(t, "key.pub", a.publicKey(t, "p256"), 0o600)}} {
		_, err := sh.run(t, "", sshAdd, args...)
		require.Error(t, err, args)
	}
	require.Equal(t, a.publicKey(t, "p256"), sh.must(t, "", sshAdd, "-L"))
}

func TestSSHKeygenSignsAndVerifies(t *testing.T) {
	keygen := tool.Path(t, "ssh-keygen", "openssh-client")
	a := start(t, allKeys)
	for name := range allKeys {
		t.Run(name, func(t *testing.T) {
			sh := a.shell(t)
			public := sh.file(t, "key.pub", a.publicKey(t, name), 0o600)
			message := strings.Repeat("a long message. ", 1000)
			sh.file(t, "message", message, 0o600)
			sh.must(t, "", keygen, "-Y", "sign", "-n", "file", "-f", public, "message")
			signed := filepath.Join(sh.home, "message.sig")
			require.Contains(t, sh.must(t, message, keygen, "-Y", "check-novalidate", "-n", "file", "-s", signed), "Good \"file\" signature")

			signers := sh.file(t, "signers", "me@example.com "+a.publicKey(t, name), 0o600)
			verify := []string{"-Y", "verify", "-f", signers, "-I", "me@example.com", "-n", "file", "-s", signed}
			require.Contains(t, sh.must(t, message, keygen, verify...), `Good "file" signature for me@example.com`)
			_, err := sh.run(t, message+"!", keygen, verify...)
			require.Error(t, err, "of another message")
		})
	}
}

func TestGitSignsCommits(t *testing.T) {
	git := tool.Path(t, "git", "git")
	tool.Path(t, "ssh-keygen", "openssh-client")
	a := start(t, allKeys)
	for name := range allKeys {
		for form, key := range map[string]func(shell) string{
			"file":    func(sh shell) string { return sh.file(t, "key.pub", a.publicKey(t, name), 0o600) },
			"literal": func(shell) string { return "key::" + strings.TrimSpace(a.publicKey(t, name)) },
		} {
			t.Run(name+" "+form, func(t *testing.T) {
				sh := a.shell(t)
				sh.must(t, "", git, "init", "--quiet", "repo")
				signed := []string{"-C", "repo", "-c", "gpg.format=ssh", "-c", "user.signingkey=" + key(sh)}
				sh.must(t, "", git, append(signed, "commit", "--quiet", "--allow-empty", "-S", "-m", "signed")...)
				sh.must(t, "", git, append(signed, "tag", "-s", "-m", "signed", "v1")...)

				trusting := func(name string) []string {
					return []string{"-C", "repo", "-c", "gpg.ssh.allowedSignersFile=" + sh.file(t, name, "a@example.com "+a.publicKey(t, name), 0o600)}
				}
				require.Contains(t, sh.must(t, "", git, append(trusting(name), "verify-commit", "HEAD")...), `Good "git" signature for a@example.com`)
				require.Contains(t, sh.must(t, "", git, append(trusting(name), "verify-tag", "v1")...), `Good "git" signature for a@example.com`)
				for other := range allKeys {
					if other != name {
						_, err := sh.run(t, "", git, append(trusting(other), "verify-commit", "HEAD")...)
						require.Error(t, err, "trusting %s only", other)
						break
					}
				}
			})
		}
	}
}

// keyPair makes a key pair: a line for known_hosts and the like, and a file.
func keyPair(t *testing.T) (public, private string) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	key, err := ssh.NewPublicKey(pub)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(priv, "")
	require.NoError(t, err)
	return string(ssh.MarshalAuthorizedKey(key)), string(pem.EncodeToMemory(block))
}

// host is a machine to log in to: an sshd on the loopback.
type host struct {
	shell
	ssh  string
	args []string // of ssh, but for the key and the command
	said *output  // by sshd
}

// sshd starts one that lets these keys in. It runs as inetd's would, one process
// a connection, so that the port is the system's to choose and surely free. Where
// it lets nobody in, as on an account that is locked, the test is skipped.
func (r *running) sshd(t *testing.T, authorizedKeys string) *host {
	t.Helper()
	h := &host{shell: r.shell(t), ssh: tool.Path(t, "ssh", "openssh-client"), said: &output{}}
	sshd := tool.Path(t, "sshd", "openssh-server")
	separate(t)
	public, private := keyPair(t)
	mine, myFile := keyPair(t)
	config := h.file(t, "sshd_config", fmt.Sprintf(`
HostKey %s
AuthorizedKeysFile %s
AuthenticationMethods publickey
PubkeyAcceptedAlgorithms +ssh-rsa
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
LogLevel VERBOSE
`, h.file(t, "host", private, 0o600), h.file(t, "authorized_keys", authorizedKeys+mine, 0o600)), 0o600)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var connections sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		cancel()
		connections.Wait()
		if t.Failed() {
			t.Log("sshd:\n" + h.said.String())
		}
	})
	connections.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			file, err := conn.(*net.TCPConn).File()
			conn.Close()
			if err != nil {
				continue
			}
			connections.Go(func() {
				defer file.Close()
				cmd := exec.CommandContext(ctx, sshd, "-i", "-e", "-f", config)
				cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, h.said
				cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
				cmd.WaitDelay = time.Second
				_ = cmd.Run() // its status is the client's to judge
			})
		}
	})

	me, err := user.Current()
	require.NoError(t, err)
	address, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	known := h.file(t, "known_hosts", fmt.Sprintf("[%s]:%s %s", address, port, public), 0o600)
	h.args = []string{"-F", "/dev/null", "-p", port, "-l", me.Username,
		"-o", "UserKnownHostsFile=" + known, "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes",
		"-o", "PreferredAuthentications=publickey", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", address}
	if out, err := h.login(t, h.file(t, "mine", myFile, 0o600), "", "echo hello"); out != "hello\n" {
		tool.Missing(t, "sshd lets user %s in with no key at all: %v: %s%s", me.Username, err, out, h.said)
	}
	return h
}

// separate makes the empty folder that Debian's sshd wants when root runs it, as
// the service's start does. It stays, as after that: another sshd may be using it.
func separate(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Mkdir("/run/sshd", 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		tool.Missing(t, "sshd does not run here: %v", err)
	}
}

// login runs a command on the host, with a key of the agent's.
func (h *host) login(t *testing.T, keyFile, algorithm, command string) (string, error) {
	t.Helper()
	args := []string{"-i", keyFile}
	if algorithm != "" {
		args = append(args, "-o", "PubkeyAcceptedAlgorithms="+algorithm)
	}
	return h.run(t, "", h.ssh, append(append(args, h.args...), command)...)
}

func TestSSHLogsIn(t *testing.T) {
	a := start(t, allKeys)
	var authorized bytes.Buffer
	for name := range allKeys {
		authorized.WriteString(a.publicKey(t, name))
	}
	h := a.sshd(t, authorized.String())
	for name, algorithms := range map[string][]string{
		"ed25519": {"ssh-ed25519"},
		"p256":    {"ecdsa-sha2-nistp256"},
		"p384":    {"ecdsa-sha2-nistp384"},
		"p521":    {"ecdsa-sha2-nistp521"},
		"rsa":     {"rsa-sha2-256", "rsa-sha2-512", ""},
	} {
		for _, algorithm := range algorithms {
			t.Run(name+" "+algorithm, func(t *testing.T) {
				out, err := h.login(t, h.file(t, name+".pub", a.publicKey(t, name), 0o600), algorithm, "echo hello")
				require.NoError(t, err, out)
				require.Equal(t, "hello\n", out)
				a.logs(t, "request=sign key="+name+" algorithm="+algorithm)
			})
		}
	}
	require.Contains(t, a.log.String(), "name=session-bind@openssh.com")
}

func TestSSHDoesNotLogInBySHA1(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"rsa": types.KeySpecRsa2048})
	h := a.sshd(t, a.publicKey(t, "rsa"))
	out, err := h.login(t, h.file(t, "rsa.pub", a.publicKey(t, "rsa"), 0o600), "ssh-rsa", "echo hello")
	require.Error(t, err)
	require.Contains(t, out, "Permission denied (publickey)")
	eventually(t, func() bool { return strings.Contains(h.said.String(), "Accepted key RSA") }, "sshd would have taken it")
	require.Contains(t, a.log.String(), errSHA1.Error())
	require.Zero(t, a.kms.Stats().Op("Sign").Requests)
}

func TestSSHDoesNotLogInWithAKeyThatIsNotLetIn(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256, "p384": types.KeySpecEccNistP384})
	h := a.sshd(t, a.publicKey(t, "p256"))
	out, err := h.login(t, h.file(t, "p384.pub", a.publicKey(t, "p384"), 0o600), "", "echo hello")
	require.Error(t, err)
	require.Contains(t, out, "Permission denied (publickey)")
}

func TestABadDayOfTheKMSCostsNoLogin(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	h := a.sshd(t, a.publicKey(t, "p256"))
	key := h.file(t, "p256.pub", a.publicKey(t, "p256"), 0o600)
	a.kms.Inject(kmstest.Faults{Seed: 1, Throttle: 0.2, Hang: 0.05, Reset: 0.05, Corrupt: 0.05})
	const clients, logins = 4, 6
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range logins {
				out, err := h.login(t, key, "", "echo hello")
				assert.NoError(t, err, out)
			}
		})
	}
	all.Wait()
	signs := a.kms.Stats().Op("Sign")
	require.GreaterOrEqual(t, signs.OK, clients*logins, "one each, and those that came too late on a busy machine")
	require.NotZero(t, signs.Throttled, signs)
	require.NotZero(t, signs.Hung, signs)
}
