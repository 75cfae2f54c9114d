package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/middleware/timeout"
	"github.com/turretgo/turret/signer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	t.Log("\n" + out.String())
	require.Equal(t, 4, strings.Count(out.String(), "  signed\n"))
	require.Contains(t, out.String(), "transient, and again in")
	require.Contains(t, out.String(), "vendor: 503 unavailable")
	require.Contains(t, out.String(), "vendor: 429 over quota")
	require.Contains(t, out.String(), "timeout: no answer within 500ms")
	require.Contains(t, out.String(), "\n4 signatures, 8 requests\n")
}

// vendor returns a signer around a vendor's KMS, and what its retry saw.
func vendor(t *testing.T, faults ...fault) (*vendorKMS, *signer.Signer, *[]retry.Event) {
	t.Helper()
	kms := newVendorKMS()
	t.Cleanup(kms.Close)
	c, err := openKey(t.Context(), kms.URL, "release")
	require.NoError(t, err)
	var events []retry.Event
	key, err := newSigner(t.Context(), c, func(e retry.Event) { events = append(events, e) })
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, key.Close()) })
	kms.Fail(faults...)
	return kms, key, &events
}

func sign(ctx context.Context, key *signer.Signer) ([]byte, error) {
	digest := sha256.Sum256([]byte("m"))
	return key.SignContext(ctx, rand.Reader, digest[:], crypto.SHA256)
}

func TestEachFaultHasItsClassAndCostsNoSignature(t *testing.T) {
	for name, tc := range map[string]struct {
		fault fault
		class turret.Class
	}{
		"unavailable": {unavailable, turret.Transient},
		"throttled":   {throttle, turret.Throttled},
		"hung":        {hang, turret.Transient},
		"reset":       {reset, turret.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			kms, key, events := vendor(t, tc.fault)
			sig, err := sign(t.Context(), key)
			require.NoError(t, err)
			digest := sha256.Sum256([]byte("m"))
			require.True(t, ecdsa.VerifyASN1(&kms.key.PublicKey, digest[:], sig))
			require.Equal(t, 2, kms.Requests())
			require.Len(t, *events, 1)
			require.Equal(t, tc.class, (*events)[0].Class, (*events)[0].Err)
			if tc.fault == throttle {
				require.GreaterOrEqual(t, (*events)[0].Delay, time.Second, "as it asked")
			}
			if tc.fault == hang {
				require.ErrorIs(t, (*events)[0].Err, timeout.ErrExceeded)
			}
		})
	}
}

func TestRefusalIsNotRetried(t *testing.T) {
	kms, key, events := vendor(t, denied)
	_, err := sign(t.Context(), key)
	require.EqualError(t, err, "vendor: 403 access denied")
	require.Equal(t, turret.Permanent, turret.Classify(err))
	require.Empty(t, *events)
	require.Equal(t, 1, kms.Requests())
}

func TestCallersContextReachesTheVendor(t *testing.T) {
	_, key, events := vendor(t, hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := sign(ctx, key)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, turret.Canceled, turret.Outcome(ctx, err))
	require.Empty(t, *events)
} // the server's Close waits until the request that hung is over
