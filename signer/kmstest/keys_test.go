package kmstest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer/kmstest"
)

func describe(t *testing.T, client *kms.Client, keyID string) *types.KeyMetadata {
	t.Helper()
	out, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &keyID})
	require.NoError(t, err)
	return out.KeyMetadata
}

func TestCreateKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		client := srv.Client()

		id := srv.CreateKey(types.KeySpecEccNistP256)
		assert.Regexp(t, `^mrk-[0-9a-f]{32}$`, id)
		assert.NotEqual(t, id, srv.CreateKey(types.KeySpecEccNistP256))
		assert.Equal(t, &types.KeyMetadata{
			AWSAccountId: aws.String("111122223333"),
			Arn:          aws.String("arn:aws:kms:us-east-1:111122223333:key/" + id),
			CreationDate: aws.Time(time.Now().UTC()),
			//lint:ignore SA1019 AWS sends it all the same
			CustomerMasterKeySpec: types.CustomerMasterKeySpecEccNistP256,
			Description:           aws.String(""),
			Enabled:               true,
			KeyId:                 aws.String(id),
			KeyManager:            types.KeyManagerTypeCustomer,
			KeySpec:               types.KeySpecEccNistP256,
			KeyState:              types.KeyStateEnabled,
			KeyUsage:              types.KeyUsageTypeSignVerify,
			MultiRegion:           aws.Bool(true),
			MultiRegionConfiguration: &types.MultiRegionConfiguration{
				MultiRegionKeyType: types.MultiRegionKeyTypePrimary,
				PrimaryKey:         &types.MultiRegionKey{Arn: aws.String(srv.ARN(id)), Region: aws.String("us-east-1")},
				ReplicaKeys:        []types.MultiRegionKey{},
			},
			Origin:            types.OriginTypeAwsKms,
			SigningAlgorithms: []types.SigningAlgorithmSpec{types.SigningAlgorithmSpecEcdsaSha256},
		}, describe(t, client, id))

		out, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{
			KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeEncryptDecrypt, Description: aws.String("for letters"),
		})
		require.NoError(t, err)
		md := out.KeyMetadata
		assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, *md.KeyId)
		assert.False(t, *md.MultiRegion)
		assert.Nil(t, md.MultiRegionConfiguration)
		assert.Equal(t, "for letters", *md.Description)
		assert.Empty(t, md.SigningAlgorithms)
		assert.Equal(t, []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecRsaesOaepSha1, types.EncryptionAlgorithmSpecRsaesOaepSha256}, md.EncryptionAlgorithms)
		assert.Equal(t, md, describe(t, client, *md.KeyId))
		_, public := publicKey(t, client, *md.KeyId)
		assert.Equal(t, types.KeyUsageTypeEncryptDecrypt, public.KeyUsage)

		// All defaults.
		out, err = client.CreateKey(t.Context(), &kms.CreateKeyInput{})
		require.NoError(t, err)
		assert.Equal(t, types.KeySpecSymmetricDefault, out.KeyMetadata.KeySpec)
		assert.Equal(t, types.KeyUsageTypeEncryptDecrypt, out.KeyMetadata.KeyUsage)
	})
}

func TestKeyNames(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	id := srv.CreateKey(types.KeySpecEccNistP256)
	srv.SetAlias("alias/release", id)
	for _, name := range []string{
		id,
		"arn:aws:kms:us-east-1:111122223333:key/" + id,
		"alias/release",
		"arn:aws:kms:us-east-1:111122223333:alias/release",
	} {
		out, err := signWith(t.Context(), client, name)
		require.NoError(t, err, name)
		assert.Equal(t, srv.ARN(id), *out.KeyId)
	}
}

func TestDisableAndEnable(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	id := srv.CreateKey(types.KeySpecEccNistP256)

	_, err := client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &id})
	require.NoError(t, err)
	md := describe(t, client, id)
	assert.Equal(t, types.KeyStateDisabled, md.KeyState)
	assert.False(t, md.Enabled)

	_, err = client.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &id})
	require.NoError(t, err)
	assert.Equal(t, types.KeyStateEnabled, describe(t, client, id).KeyState)
	_, err = signWith(t.Context(), client, id)
	assert.NoError(t, err)
}

func TestDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		client := srv.Client()
		id := srv.CreateKey(types.KeySpecEccNistP256)
		srv.SetAlias("alias/doomed", id)
		schedule := func(days int32) error {
			out, err := client.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: &days})
			if err == nil {
				assert.Equal(t, srv.ARN(id), *out.KeyId)
				assert.Equal(t, types.KeyStatePendingDeletion, out.KeyState)
				assert.Equal(t, days, *out.PendingWindowInDays)
				assert.Equal(t, time.Now().AddDate(0, 0, int(days)).UTC(), *out.DeletionDate)
				assert.Equal(t, out.DeletionDate, describe(t, client, id).DeletionDate)
			}
			return err
		}
		const window = "ValidationException: PendingWindowInDays must be between 7 and 30 days, inclusive."
		requireRefused(t, schedule(6), window)
		requireRefused(t, schedule(31), window)

		pending := "KMSInvalidStateException: " + srv.ARN(id) + " is pending deletion."
		require.NoError(t, schedule(7))
		requireRefused(t, schedule(7), pending)
		_, err := client.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &id})
		requireRefused(t, err, pending)
		_, err = client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &id})
		requireRefused(t, err, pending)

		// Saved, it is disabled.
		out, err := client.CancelKeyDeletion(t.Context(), &kms.CancelKeyDeletionInput{KeyId: &id})
		require.NoError(t, err)
		assert.Equal(t, srv.ARN(id), *out.KeyId)
		assert.Equal(t, types.KeyStateDisabled, describe(t, client, id).KeyState)
		_, err = client.CancelKeyDeletion(t.Context(), &kms.CancelKeyDeletionInput{KeyId: &id})
		requireRefused(t, err, "KMSInvalidStateException: "+srv.ARN(id)+" is not pending deletion.")

		// Not saved, it is gone when its time has come, and its alias with it.
		require.NoError(t, schedule(30))
		<-time.After(30*24*time.Hour - time.Second)
		describe(t, client, id)
		<-time.After(time.Second)
		_, err = signWith(t.Context(), client, id)
		requireRefused(t, err, "NotFoundException: Key '"+srv.ARN(id)+"' does not exist")
		_, err = signWith(t.Context(), client, "alias/doomed")
		requireRefused(t, err, "NotFoundException: Alias arn:aws:kms:us-east-1:111122223333:alias/doomed is not found.")
	})
}

func TestDenyUnknownKeyPanics(t *testing.T) {
	srv := newServer(t)
	const want = ": NotFoundException: Invalid keyId nonesuch"
	assert.PanicsWithValue(t, "kmstest: Deny"+want, func() { srv.Deny("nonesuch") })
	assert.PanicsWithValue(t, "kmstest: Allow"+want, func() { srv.Allow("nonesuch") })
	assert.PanicsWithValue(t, "kmstest: SetAlias"+want, func() { srv.SetAlias("alias/release", "nonesuch") })
	assert.PanicsWithValue(t, `kmstest: SetAlias: ValidationException: Invalid identifier: "release" does not begin with alias/`,
		func() { srv.SetAlias("release", srv.CreateKey(types.KeySpecEccNistP256)) })
}
