package kmstest_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret/signer/kmstest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// newServer makes a server that the test closes.
func newServer(t *testing.T) *kmstest.Server {
	t.Helper()
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	return srv
}

// overTCP makes a client as any program would, with the server's URL.
func overTCP(srv *kmstest.Server) *kms.Client {
	return kms.New(kms.Options{
		Region:       srv.Region(),
		Credentials:  credentials.NewStaticCredentialsProvider("id", "secret", ""),
		BaseEndpoint: aws.String(srv.Endpoint()),
	})
}

// once switches the SDK's retries off.
func once(o *kms.Options) { o.Retryer = aws.NopRetryer{} }

func TestBothTransportsSign(t *testing.T) {
	srv := newServer(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	for name, client := range map[string]*kms.Client{"memory": srv.Client(), "loopback": overTCP(srv)} {
		t.Run(name, func(t *testing.T) {
			pub, err := client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &id})
			require.NoError(t, err)
			digest := sha256.Sum256([]byte("message"))
			out, err := client.Sign(t.Context(), &kms.SignInput{
				KeyId:            &id,
				Message:          digest[:],
				MessageType:      types.MessageTypeDigest,
				SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
			})
			require.NoError(t, err)
			require.Equal(t, srv.ARN(id), *out.KeyId)
			key, err := x509.ParsePKIXPublicKey(pub.PublicKey)
			require.NoError(t, err)
			require.True(t, ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), digest[:], out.Signature))
		})
	}
}

func TestHourLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		id := srv.CreateKey(types.KeySpecEccNistP256)
		client := srv.Client()
		sign := func() error {
			_, err := client.Sign(t.Context(), &kms.SignInput{
				KeyId:            &id,
				Message:          []byte("message"),
				SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
			})
			return err
		}
		start := time.Now()
		srv.Inject(kmstest.Faults{Down: true, Latency: kmstest.LogNormal(15*time.Millisecond, 400*time.Millisecond)})
		time.AfterFunc(time.Hour, func() { srv.Inject(kmstest.Faults{}) })
		failures := 0
		for sign() != nil {
			failures++
			<-time.After(5 * time.Second)
		}
		require.GreaterOrEqual(t, time.Since(start), time.Hour)
		require.Greater(t, failures, 100)
		t.Log(time.Since(start), "\n", srv.Stats())
	})
}
