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

func TestReplicaHasTheSameKeys(t *testing.T) {
	srv := newServer(t)
	before := srv.CreateKey(types.KeySpecEccNistP256)
	ireland := srv.Replica("eu-west-1")
	after := srv.CreateKey(types.KeySpecEccNistP256)
	there := ireland.CreateKey(types.KeySpecEccNistP256)

	assert.Equal(t, "us-east-1", srv.Region())
	assert.Equal(t, "eu-west-1", ireland.Region())
	assert.Same(t, ireland, srv.Replica("eu-west-1"))
	assert.Same(t, srv, ireland.Replica("us-east-1"))
	assert.Same(t, ireland, ireland.Replica("eu-west-1"))

	for _, id := range []string{before, after, there} {
		here, _ := publicKey(t, srv.Client(), id)
		pub, out := publicKey(t, ireland.Client(), id)
		assert.Equal(t, here, pub)
		assert.Equal(t, "arn:aws:kms:eu-west-1:111122223333:key/"+id, *out.KeyId)

		signed, err := signWith(t.Context(), ireland.Client(), ireland.ARN(id))
		require.NoError(t, err)
		checkSignature(t, here, types.SigningAlgorithmSpecEcdsaSha256, []byte("message"), signed.Signature)
		_, err = signWith(t.Context(), ireland.Client(), srv.ARN(id))
		requireRefused(t, err, "NotFoundException: Invalid arn us-east-1")
	}

	primary := &types.MultiRegionKey{Arn: aws.String(srv.ARN(before)), Region: aws.String("us-east-1")}
	replicas := []types.MultiRegionKey{{Arn: aws.String(ireland.ARN(before)), Region: aws.String("eu-west-1")}}
	assert.Equal(t, &types.MultiRegionConfiguration{
		MultiRegionKeyType: types.MultiRegionKeyTypePrimary, PrimaryKey: primary, ReplicaKeys: replicas,
	}, describe(t, srv.Client(), before).MultiRegionConfiguration)
	assert.Equal(t, &types.MultiRegionConfiguration{
		MultiRegionKeyType: types.MultiRegionKeyTypeReplica, PrimaryKey: primary, ReplicaKeys: replicas,
	}, describe(t, ireland.Client(), before).MultiRegionConfiguration)

	assert.PanicsWithValue(t, `kmstest: Replica: "Ireland" is not the name of a Region, such as eu-west-1`, func() { srv.Replica("Ireland") })
}

func TestReplicaIsItsOwnServer(t *testing.T) {
	srv := newServer(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	ireland := srv.Replica("eu-west-1")
	client := ireland.Client()

	// Each of these befalls the primary, and the replica signs.
	for name, befall := range map[string]func(){
		"fault":  func() { srv.Inject(kmstest.Faults{Down: true}) },
		"denial": func() { srv.Inject(kmstest.Faults{}); srv.Deny(id) },
		"state": func() {
			srv.Inject(kmstest.Faults{})
			srv.Allow(id)
			_, err := srv.Client().DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &id})
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			befall()
			_, err := signWith(t.Context(), srv.Client(), id)
			require.Error(t, err)
			_, err = signWith(t.Context(), client, id)
			require.NoError(t, err)
			srv.Inject(kmstest.Faults{})
			srv.Allow(id)
		})
	}
	assert.Equal(t, kmstest.Counts{Requests: 3, OK: 3}, ireland.Stats().Op("Sign"))

	srv.SetAlias("alias/here", id)
	_, err := signWith(t.Context(), client, "alias/here")
	requireRefused(t, err, "NotFoundException: Alias arn:aws:kms:eu-west-1:111122223333:alias/here is not found.")
	assert.NotEqual(t, srv.Endpoint(), ireland.Endpoint())
}

func TestClosingAReplica(t *testing.T) {
	srv := kmstest.NewServer()
	id := srv.CreateKey(types.KeySpecEccNistP256)
	ireland, ohio := srv.Replica("eu-west-1"), srv.Replica("us-east-2")

	ireland.Close()
	_, err := signWith(t.Context(), ireland.Client(), id)
	assert.ErrorContains(t, err, "connection refused")
	for _, other := range []*kmstest.Server{srv, ohio} {
		_, err := signWith(t.Context(), other.Client(), id)
		assert.NoError(t, err)
	}

	srv.Close()
	_, err = signWith(t.Context(), ohio.Client(), id)
	assert.ErrorContains(t, err, "connection refused", "the primary closes its replicas")
}

func TestReplicateKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		client := srv.Client()
		replicate := func(client *kms.Client, id, region string) (*kms.ReplicateKeyOutput, error) {
			return client.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: &id, ReplicaRegion: &region})
		}
		id := makeKey(t, client, &kms.CreateKeyInput{
			KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify, MultiRegion: aws.Bool(true),
		})
		assert.Regexp(t, `^mrk-[0-9a-f]{32}$`, id)
		ireland := srv.Replica("eu-west-1")
		_, err := signWith(t.Context(), ireland.Client(), id)
		requireRefused(t, err, "NotFoundException: Key '"+ireland.ARN(id)+"' does not exist")

		out, err := replicate(client, id, "eu-west-1")
		require.NoError(t, err)
		assert.Equal(t, ireland.ARN(id), *out.ReplicaKeyMetadata.Arn)
		assert.Equal(t, types.KeyStateCreating, out.ReplicaKeyMetadata.KeyState)
		_, err = signWith(t.Context(), ireland.Client(), id)
		requireRefused(t, err, "KMSInvalidStateException: "+ireland.ARN(id)+" is creating.")
		<-time.After(kmstest.ReplicationTime)
		signed, err := signWith(t.Context(), ireland.Client(), id)
		require.NoError(t, err)
		pub, _ := publicKey(t, client, id)
		checkSignature(t, pub, types.SigningAlgorithmSpecEcdsaSha256, []byte("message"), signed.Signature)

		_, err = replicate(client, id, "eu-west-1")
		requireRefused(t, err, "AlreadyExistsException: "+ireland.ARN(id)+" already exists.")
		_, err = replicate(ireland.Client(), id, "us-east-2")
		requireRefused(t, err, "UnsupportedOperationException: "+ireland.ARN(id)+" is not a multi-Region primary key.")
		_, err = replicate(client, id, "Ireland")
		requireRefused(t, err, "ValidationException: 1 validation error detected: Value 'Ireland' at 'replicaRegion' failed to satisfy constraint: Member must satisfy regular expression pattern: ^([a-z]+-){2,3}[0-9]+$")
		single := makeKey(t, client, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
		_, err = replicate(client, single, "eu-west-1")
		requireRefused(t, err, "UnsupportedOperationException: "+srv.ARN(single)+" is not a multi-Region primary key.")

		// To a Region that nobody has asked for yet.
		_, err = replicate(client, id, "us-east-2")
		require.NoError(t, err)
		assert.Equal(t, types.KeyStateCreating, describe(t, srv.Replica("us-east-2").Client(), id).KeyState)
	})
}
