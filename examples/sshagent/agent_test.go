package main

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/turretgo/turret/signer/kmstest"
)

// best are the flags that a modern client sends for a key.
func best(k *agent.Key) agent.SignatureFlags {
	if k.Format == ssh.KeyAlgoRSA {
		return agent.SignatureFlagRsaSha512
	}
	return 0
}

func TestEveryKeySigns(t *testing.T) {
	a := start(t, allKeys)
	client := a.client(t)
	keys, err := client.List()
	require.NoError(t, err)
	require.Len(t, keys, len(allKeys))
	for _, k := range keys {
		algorithms := map[string]agent.SignatureFlags{k.Format: 0}
		if k.Format == ssh.KeyAlgoRSA {
			algorithms = map[string]agent.SignatureFlags{
				ssh.KeyAlgoRSASHA256: agent.SignatureFlagRsaSha256,
				ssh.KeyAlgoRSASHA512: agent.SignatureFlagRsaSha512,
			}
		}
		for algorithm, flags := range algorithms {
			t.Run(algorithm, func(t *testing.T) {
				for _, data := range []string{"one", strings.Repeat("x", maxMessage)} {
					signature, err := client.SignWithFlags(k, []byte(data), flags)
					require.NoError(t, err)
					require.Equal(t, algorithm, signature.Format)
					public, err := ssh.ParsePublicKey(k.Blob)
					require.NoError(t, err)
					require.NoError(t, public.Verify([]byte(data), signature))
					require.Error(t, public.Verify([]byte("other"), signature))
				}
			})
		}
	}
}

func TestRSANeverSignsSHA1(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"rsa": types.KeySpecRsa2048})
	_, err := a.client(t).Sign(a.key(t, "rsa"), []byte("data"))
	require.Error(t, err)
	a.logs(t, errSHA1.Error())
	require.Zero(t, a.kms.Stats().Op("Sign").Requests)
}

func TestFlagsThatFitNoAlgorithmAreRefused(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"rsa": types.KeySpecRsa2048, "p256": types.KeySpecEccNistP256})
	for _, tc := range []struct {
		key   string
		flags agent.SignatureFlags
	}{
		{"rsa", agent.SignatureFlagReserved},
		{"rsa", agent.SignatureFlagRsaSha256 | agent.SignatureFlagRsaSha512},
		{"rsa", agent.SignatureFlagRsaSha256 | 1<<31},
		{"p256", agent.SignatureFlagRsaSha256},
	} {
		_, err := a.client(t).SignWithFlags(a.key(t, tc.key), []byte("data"), tc.flags)
		require.Error(t, err, tc)
		a.logs(t, fmt.Sprintf("they are %#x", uint32(tc.flags)))
	}
	require.Zero(t, a.kms.Stats().Op("Sign").Requests)
}

func TestEd25519RefusesAMessageLongerThanKMSTakes(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"ed25519": types.KeySpecEccNistEdwards25519, "p256": types.KeySpecEccNistP256})
	long := make([]byte, maxMessage+1)
	_, err := a.client(t).Sign(a.key(t, "ed25519"), long)
	require.Error(t, err)
	a.logs(t, "this one has 4097 bytes where KMS takes 4096; an ECDSA or RSA key signs any length")
	require.Zero(t, a.kms.Stats().Op("Sign").Requests)

	_, err = a.client(t).Sign(a.key(t, "p256"), long)
	require.NoError(t, err)
}

func TestALockedAgentHasNoKeysUntilTheRightPassphraseUnlocksIt(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	client, key := a.client(t), a.key(t, "p256")
	require.Error(t, client.Unlock([]byte("right")), "it is not locked")
	a.logs(t, errNotLocked.Error())
	require.NoError(t, client.Lock([]byte("right")))

	other := a.client(t) // the lock is the agent's, not the connection's
	keys, err := other.List()
	require.NoError(t, err)
	require.Empty(t, keys)
	_, err = other.Sign(key, []byte("data"))
	require.Error(t, err)
	a.logs(t, errLocked.Error())
	require.Error(t, other.Lock([]byte("mine")), "it is locked already")
	for _, wrong := range []string{"", "righ", "right ", "mine", "wrong"} {
		require.Error(t, other.Unlock([]byte(wrong)), wrong)
	}
	a.logs(t, errPassphrase.Error())
	require.Zero(t, a.kms.Stats().Op("Sign").Requests)

	require.NoError(t, other.Unlock([]byte("right")))
	keys, err = client.List()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	_, err = client.Sign(key, []byte("data"))
	require.NoError(t, err)
	require.NoError(t, client.Lock([]byte("second")))
	require.Error(t, client.Unlock([]byte("right")), "that was the first one")
}

func TestClientsNeitherAddNorRemoveKeys(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	client, key := a.client(t), a.key(t, "p256")
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	require.Error(t, client.Add(agent.AddedKey{PrivateKey: private}))
	require.Error(t, client.Add(agent.AddedKey{PrivateKey: private, LifetimeSecs: 60}))
	require.Error(t, client.Remove(key))
	require.Error(t, client.RemoveAll())
	require.Equal(t, 4, strings.Count(a.log.String(), errKeysInKMS.Error()))

	keys, err := client.List()
	require.NoError(t, err)
	require.Len(t, keys, 1)

	session := &session{keys: &keyring{}, log: discard}
	require.ErrorIs(t, session.Add(agent.AddedKey{}), errKeysInKMS)
	_, err = session.Signers()
	require.ErrorIs(t, err, errKeysInKMS)
}

func TestExtensionsAreUnsupported(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	client := a.client(t)
	for _, name := range []string{"session-bind@openssh.com", "query", strings.Repeat("n", 1000)} {
		_, err := client.Extension(name, []byte("contents"))
		require.ErrorIs(t, err, agent.ErrExtensionUnsupported)
	}
	_, err := client.List()
	require.NoError(t, err)
	require.Contains(t, a.log.String(), "name=session-bind@openssh.com")
	require.NotContains(t, a.log.String(), strings.Repeat("n", 65), "a client decides how long a name is, but not how long the log")
}

func TestAKeyThatTheAgentDoesNotHaveIsRefused(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	key, err := ssh.NewPublicKey(public)
	require.NoError(t, err)
	_, err = a.client(t).Sign(key, []byte("data"))
	require.Error(t, err)
	a.logs(t, errNotOurs.Error())
	a.logs(t, ssh.FingerprintSHA256(key))
}

func TestTheLogTellsWhatTheKMSSaidAndWhoAsked(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	key := a.key(t, "p256")
	a.kms.Deny("alias/p256")
	_, err := a.client(t).Sign(key, []byte("data"))
	require.Error(t, err)
	require.Regexp(t, `level=ERROR msg=failed connection=\d+ .*request=sign class=permanent why=".*AccessDeniedException.*" key=p256 algorithm=ecdsa-sha2-nistp256`, a.log.String())
}

func TestWhatIsSignedIsNotLogged(t *testing.T) {
	a := start(t, allKeys)
	client := a.client(t)
	keys, err := client.List()
	require.NoError(t, err)
	for _, k := range keys {
		_, err := client.SignWithFlags(k, []byte("a secret message"), best(k))
		require.NoError(t, err)
		_, err = client.SignWithFlags(k, []byte("a secret message"), 1)
		require.Error(t, err)
	}
	require.NoError(t, client.Lock([]byte("a secret passphrase")))
	require.Error(t, client.Unlock([]byte("another secret")))
	require.Contains(t, a.log.String(), "request=unlock")
	require.NotContains(t, a.log.String(), "secret")
}

func TestManyClientsLoseNoSignatureToABadDayOfTheKMS(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"ed25519": types.KeySpecEccNistEdwards25519, "p256": types.KeySpecEccNistP256, "rsa": types.KeySpecRsa2048})
	keys, err := a.client(t).List()
	require.NoError(t, err)
	a.kms.Inject(kmstest.Faults{Seed: 1, Throttle: 0.2, Hang: 0.01, Reset: 0.01})
	var clients sync.WaitGroup
	turns := make(chan struct{}, 8) // or on a busy machine the KMS, which is on it, would be too slow for all 64
	for i := range 64 {
		client := a.client(t)
		clients.Go(func() {
			for j := range 3 {
				k := keys[(i+j)%len(keys)]
				data := fmt.Appendf(nil, "message %d of client %d", j, i)
				turns <- struct{}{}
				signature, err := client.SignWithFlags(k, data, best(k))
				<-turns
				if !assert.NoError(t, err) {
					continue
				}
				public, err := ssh.ParsePublicKey(k.Blob)
				assert.NoError(t, err)
				assert.NoError(t, public.Verify(data, signature), "each client gets the signature of its own data")
			}
		})
	}
	clients.Wait()
	signs := a.kms.Stats().Op("Sign")
	require.GreaterOrEqual(t, signs.OK, 64*3, "one each, and those that came too late on a busy machine")
	require.NotZero(t, signs.Throttled)
}

func TestAKeyThatSSHCannotUseIsNamed(t *testing.T) {
	srv := kmstest.NewServer()
	defer srv.Close()
	same := sources(srv, map[string]types.KeySpec{"one": types.KeySpecEccNistP256})[0]
	_, err := openKeys(t.Context(), []source{same, {"other", same.provider}})
	require.EqualError(t, err, "other: it is the same key as one; name it once")

	srv.SetAlias("alias/aes", srv.CreateKey(types.KeySpecSymmetricDefault))
	_, err = openKeys(t.Context(), sources(srv, map[string]types.KeySpec{"aes": types.KeySpecSymmetricDefault}))
	require.ErrorContains(t, err, "aes: ")
}

func TestTheListIsEmptyNotAbsentWhileLocked(t *testing.T) {
	a := start(t, map[string]types.KeySpec{"p256": types.KeySpecEccNistP256})
	require.NoError(t, a.client(t).Lock(nil))
	require.Equal(t, []byte{12, 0, 0, 0, 0}, exchange(t, a.dial(t), []byte{11}), "an answer with no keys in it")
}
