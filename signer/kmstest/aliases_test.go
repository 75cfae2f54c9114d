package kmstest_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAliasesMove(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	first, second := srv.CreateKey(types.KeySpecEccNistP256), srv.CreateKey(types.KeySpecEccNistP256)
	alias := "alias/release"
	signer := func() string {
		t.Helper()
		out, err := signWith(t.Context(), client, alias)
		require.NoError(t, err)
		return *out.KeyId
	}

	srv.SetAlias(alias, first)
	assert.Equal(t, srv.ARN(first), signer())
	srv.SetAlias(alias, second)
	assert.Equal(t, srv.ARN(second), signer())
	_, err := client.UpdateAlias(t.Context(), &kms.UpdateAliasInput{AliasName: &alias, TargetKeyId: &first})
	require.NoError(t, err)
	assert.Equal(t, srv.ARN(first), signer())

	_, err = client.DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: &alias})
	require.NoError(t, err)
	notFound := "NotFoundException: Alias arn:aws:kms:us-east-1:111122223333:alias/release is not found."
	_, err = signWith(t.Context(), client, alias)
	requireRefused(t, err, notFound)
	_, err = client.DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: &alias})
	requireRefused(t, err, notFound)
	_, err = client.UpdateAlias(t.Context(), &kms.UpdateAliasInput{AliasName: &alias, TargetKeyId: &first})
	requireRefused(t, err, notFound)

	_, err = client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: &second})
	require.NoError(t, err)
	assert.Equal(t, srv.ARN(second), signer())
}

func TestAliasRefuses(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	id, symmetric := srv.CreateKey(types.KeySpecEccNistP256), srv.CreateKey(types.KeySpecSymmetricDefault)
	srv.SetAlias("alias/release", id)
	pending := srv.CreateKey(types.KeySpecEccNistP256)
	_, err := client.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &pending})
	require.NoError(t, err)

	for _, tt := range []struct{ alias, target, want string }{
		{"alias/release", id, "AlreadyExistsException: An alias with the name arn:aws:kms:us-east-1:111122223333:alias/release already exists"},
		{"release", id, `ValidationException: Invalid identifier: "release" does not begin with alias/`},
		{"alias/re lease", id, "ValidationException: 1 validation error detected: Value 'alias/re lease' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^alias/[a-zA-Z0-9:/_-]{1,250}$"},
		{"alias/aws/s3", id, "NotAuthorizedException: alias/aws/s3 is reserved for AWS managed keys"},
		{"alias/new", "alias/release", "ValidationException: Aliases must refer to keys. Not aliases"},
		{"alias/new", "arn:aws:kms:us-east-1:111122223333:alias/release", "ValidationException: Aliases must refer to keys. Not aliases"},
		{"alias/new", "mrk-00000000000000000000000000000000", "NotFoundException: Key 'arn:aws:kms:us-east-1:111122223333:key/mrk-00000000000000000000000000000000' does not exist"},
		{"alias/new", pending, "KMSInvalidStateException: " + srv.ARN(pending) + " is pending deletion."},
	} {
		_, err := client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &tt.alias, TargetKeyId: &tt.target})
		requireRefused(t, err, tt.want)
	}

	alias := "alias/release"
	_, err = client.UpdateAlias(t.Context(), &kms.UpdateAliasInput{AliasName: &alias, TargetKeyId: &symmetric})
	requireRefused(t, err, "ValidationException: Alias arn:aws:kms:us-east-1:111122223333:alias/release cannot move from a key of usage SIGN_VERIFY to one of usage ENCRYPT_DECRYPT.")
}
