package kmstest_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// makeKey makes a key over the wire, for what Server.CreateKey does not make.
func makeKey(t *testing.T, client *kms.Client, in *kms.CreateKeyInput) string {
	t.Helper()
	out, err := client.CreateKey(t.Context(), in)
	require.NoError(t, err)
	return *out.KeyMetadata.KeyId
}

// requireRefused checks the code and message of a refusal, and that it looks like
// one of AWS's: a client's error with a request id.
func requireRefused(t *testing.T, err error, want string) {
	t.Helper()
	var api smithy.APIError
	require.True(t, errors.As(err, &api), "%v", err)
	assert.Equal(t, want, strings.TrimSuffix(api.ErrorCode()+": "+api.ErrorMessage(), ": "))
	var response *awshttp.ResponseError
	require.True(t, errors.As(err, &response), "%v", err)
	assert.Equal(t, http.StatusBadRequest, response.HTTPStatusCode())
	assert.Len(t, response.ServiceRequestID(), len("1234abcd-12ab-34cd-56ef-1234567890ab"))
}

func TestSignRefuses(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()

	p256 := srv.CreateKey(types.KeySpecEccNistP256)
	ed := srv.CreateKey(types.KeySpecEccNistEdwards25519)
	mldsa := srv.CreateKey(types.KeySpecMlDsa44)
	symmetric := srv.CreateKey(types.KeySpecSymmetricDefault)
	agreement := makeKey(t, client, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeKeyAgreement})
	rsa := srv.CreateKey(types.KeySpecRsa2048)
	encryption := makeKey(t, client, &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeEncryptDecrypt})
	denied := srv.CreateKey(types.KeySpecEccNistP256)
	srv.Deny(denied)
	srv.SetAlias("alias/denied", denied)
	disabled := srv.CreateKey(types.KeySpecEccNistP256)
	_, err := client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &disabled})
	require.NoError(t, err)
	pending := srv.CreateKey(types.KeySpecEccNistP256)
	_, err = client.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &pending})
	require.NoError(t, err)

	const (
		arn     = "arn:aws:kms:us-east-1:111122223333:"
		missing = "1234abcd-12ab-34cd-56ef-1234567890ab"
		user    = "User: arn:aws:iam::111122223333:user/kmstest is not authorized to perform: kms:Sign on resource: "
	)
	algorithms := "[RSASSA_PSS_SHA_256, RSASSA_PSS_SHA_384, RSASSA_PSS_SHA_512, " +
		"RSASSA_PKCS1_V1_5_SHA_256, RSASSA_PKCS1_V1_5_SHA_384, RSASSA_PKCS1_V1_5_SHA_512, " +
		"ECDSA_SHA_256, ECDSA_SHA_384, ECDSA_SHA_512, SM2DSA, ML_DSA_SHAKE_256, ED25519_SHA_512, ED25519_PH_SHA_512]"

	for _, tt := range []struct {
		name    string
		key     string // p256 if empty
		message []byte
		kind    types.MessageType
		alg     types.SigningAlgorithmSpec // ECDSA_SHA_256 if empty
		dryRun  bool
		want    string
	}{
		{name: "empty message", message: []byte{},
			want: "ValidationException: 1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{name: "message over 4096 bytes", message: make([]byte, 4097),
			want: "ValidationException: 1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096"},
		{name: "no such algorithm", alg: "ROT13",
			want: "ValidationException: 1 validation error detected: Value 'ROT13' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: " + algorithms},
		{name: "two mistakes at once", key: strings.Repeat("k", 2049), kind: "COOKED",
			want: "ValidationException: 2 validation errors detected: Value '" + strings.Repeat("k", 2049) + "' at 'keyId' failed to satisfy constraint: Member must have length less than or equal to 2048; " +
				"Value 'COOKED' at 'messageType' failed to satisfy constraint: Member must satisfy enum value set: [RAW, DIGEST, EXTERNAL_MU]"},

		{name: "digest too short", kind: types.MessageTypeDigest, message: make([]byte, 31),
			want: "ValidationException: Digest is invalid length for algorithm ECDSA_SHA_256."},
		{name: "digest of another hash", key: rsa, kind: types.MessageTypeDigest, message: make([]byte, 32), alg: types.SigningAlgorithmSpecRsassaPssSha384,
			want: "ValidationException: Digest is invalid length for algorithm RSASSA_PSS_SHA_384."},
		{name: "ED25519_PH digest of another hash", key: ed, kind: types.MessageTypeDigest, message: make([]byte, 32), alg: types.SigningAlgorithmSpecEd25519PhSha512,
			want: "ValidationException: Digest is invalid length for algorithm ED25519_PH_SHA_512."},
		{name: "ED25519 of a digest", key: ed, kind: types.MessageTypeDigest, message: make([]byte, 64), alg: types.SigningAlgorithmSpecEd25519Sha512,
			want: "ValidationException: Message type DIGEST is incompatible with algorithm ED25519_SHA_512."},
		{name: "ED25519_PH of a message", key: ed, kind: types.MessageTypeRaw, alg: types.SigningAlgorithmSpecEd25519PhSha512,
			want: "ValidationException: Message type RAW is incompatible with algorithm ED25519_PH_SHA_512."},
		{name: "EXTERNAL_MU", kind: types.MessageTypeExternalMu, message: make([]byte, 64),
			want: "ValidationException: Message type EXTERNAL_MU is incompatible with algorithm ECDSA_SHA_256."},

		{name: "EXTERNAL_MU for Ed25519", key: ed, kind: types.MessageTypeExternalMu, message: make([]byte, 64), alg: types.SigningAlgorithmSpecEd25519Sha512,
			want: "ValidationException: Message type EXTERNAL_MU is incompatible with algorithm ED25519_SHA_512."},
		{name: "EXTERNAL_MU too short", key: mldsa, kind: types.MessageTypeExternalMu, message: make([]byte, 63), alg: types.SigningAlgorithmSpecMlDsaShake256,
			want: "ValidationException: Message is invalid length for message type EXTERNAL_MU."},
		{name: "EXTERNAL_MU too long", key: mldsa, kind: types.MessageTypeExternalMu, message: make([]byte, 65), alg: types.SigningAlgorithmSpecMlDsaShake256,
			want: "ValidationException: Message is invalid length for message type EXTERNAL_MU."},
		{name: "ML-DSA of a digest", key: mldsa, kind: types.MessageTypeDigest, message: make([]byte, 64), alg: types.SigningAlgorithmSpecMlDsaShake256,
			want: "ValidationException: Message type DIGEST is incompatible with algorithm ML_DSA_SHAKE_256."},
		{name: "ML-DSA of a message over 4096 bytes", key: mldsa, message: make([]byte, 4097), alg: types.SigningAlgorithmSpecMlDsaShake256,
			want: "ValidationException: 1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096"},

		{name: "ML-DSA with ECDSA", key: mldsa,
			want: "InvalidKeyUsageException: Algorithm ECDSA_SHA_256 is incompatible with key spec ML_DSA_44."},
		{name: "another curve's algorithm", alg: types.SigningAlgorithmSpecEcdsaSha384,
			want: "InvalidKeyUsageException: Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256."},
		{name: "another family's algorithm", key: rsa,
			want: "InvalidKeyUsageException: Algorithm ECDSA_SHA_256 is incompatible with key spec RSA_2048."},
		{name: "symmetric key", key: symmetric,
			want: "InvalidKeyUsageException: " + arn + "key/" + symmetric + " key usage is ENCRYPT_DECRYPT which is not valid for Sign."},
		{name: "key for encryption", key: encryption, alg: types.SigningAlgorithmSpecRsassaPssSha256,
			want: "InvalidKeyUsageException: " + arn + "key/" + encryption + " key usage is ENCRYPT_DECRYPT which is not valid for Sign."},
		{name: "key for key agreement", key: agreement,
			want: "InvalidKeyUsageException: " + arn + "key/" + agreement + " key usage is KEY_AGREEMENT which is not valid for Sign."},

		{name: "disabled", key: disabled, want: "DisabledException: " + arn + "key/" + disabled + " is disabled."},
		{name: "pending deletion", key: pending, want: "KMSInvalidStateException: " + arn + "key/" + pending + " is pending deletion."},
		{name: "denied", key: denied, want: "AccessDeniedException: " + user + arn + "key/" + denied + " because no resource-based policy allows the kms:Sign action"},
		{name: "denied by alias", key: "alias/denied", want: "AccessDeniedException: " + user + arn + "key/" + denied + " because no resource-based policy allows the kms:Sign action"},

		{name: "unknown id", key: missing, want: "NotFoundException: Key '" + arn + "key/" + missing + "' does not exist"},
		{name: "unknown ARN", key: arn + "key/" + missing, want: "NotFoundException: Key '" + arn + "key/" + missing + "' does not exist"},
		{name: "id in another case", key: strings.ToUpper(missing), want: "NotFoundException: Key '" + arn + "key/" + strings.ToUpper(missing) + "' does not exist"},
		{name: "no id at all", key: "release", want: "NotFoundException: Invalid keyId release"},
		{name: "unknown alias", key: "alias/none", want: "NotFoundException: Alias " + arn + "alias/none is not found."},
		{name: "unknown alias ARN", key: arn + "alias/none", want: "NotFoundException: Alias " + arn + "alias/none is not found."},
		{name: "alias in another case", key: "alias/Denied", want: "NotFoundException: Alias " + arn + "alias/Denied is not found."},
		{name: "ARN of another Region", key: strings.Replace(srv.ARN(p256), "us-east-1", "eu-west-1", 1), want: "NotFoundException: Invalid arn eu-west-1"},
		{name: "ARN cut short", key: "arn:aws:kms:us-east-1", want: "NotFoundException: Invalid arn arn:aws:kms:us-east-1"},
		{name: "ARN of another service", key: "arn:aws:s3:us-east-1:111122223333:key/" + p256, want: "NotFoundException: Invalid arn arn:aws:s3:us-east-1:111122223333:key/" + p256},
		{name: "ARN of another resource", key: arn + "grant/" + p256, want: "NotFoundException: Invalid arn " + arn + "grant/" + p256},
		{name: "ARN of another account", key: strings.Replace(srv.ARN(p256), "111122223333", "444455556666", 1),
			want: "AccessDeniedException: " + user + strings.Replace(srv.ARN(p256), "111122223333", "444455556666", 1) +
				" because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"},

		{name: "dry run", dryRun: true, want: "DryRunOperationException: The request would have succeeded, but the DryRun option is set."},
		{name: "dry run of what would fail", dryRun: true, key: disabled, want: "DisabledException: " + arn + "key/" + disabled + " is disabled."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := &kms.SignInput{
				KeyId:            aws.String(p256),
				Message:          []byte("message"),
				MessageType:      tt.kind,
				SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
				DryRun:           &tt.dryRun,
			}
			if tt.key != "" {
				in.KeyId = &tt.key
			}
			if tt.message != nil {
				in.Message = tt.message
			}
			if tt.alg != "" {
				in.SigningAlgorithm = tt.alg
			}
			before := srv.Stats().Op("Sign")
			_, err := client.Sign(t.Context(), in)
			requireRefused(t, err, tt.want)
			before.Requests++
			before.Refused++
			assert.Equal(t, before, srv.Stats().Op("Sign"), "one request: the SDK does not retry refusals")
		})
	}

	srv.Allow(denied)
	_, err = signWith(t.Context(), client, denied)
	assert.NoError(t, err)
	_, err = client.Sign(t.Context(), &kms.SignInput{
		KeyId: &p256, Message: make([]byte, 4096), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
	})
	assert.NoError(t, err, "4096 bytes are not too many")
}

func TestGetPublicKeyRefuses(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	symmetric := srv.CreateKey(types.KeySpecSymmetricDefault)
	_, err := client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &symmetric})
	requireRefused(t, err, "UnsupportedOperationException: "+srv.ARN(symmetric)+" is a symmetric key, which has no public half.")
	_, err = client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: aws.String("")})
	requireRefused(t, err, "ValidationException: 1 validation error detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1")

	id := srv.CreateKey(types.KeySpecEccNistP256)
	_, err = client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &id})
	require.NoError(t, err)
	_, err = client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &id})
	requireRefused(t, err, "DisabledException: "+srv.ARN(id)+" is disabled.")
}

func TestVerifyRefuses(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	id := srv.CreateKey(types.KeySpecEccNistP256)
	verify := func(signature []byte, dryRun bool) error {
		_, err := client.Verify(t.Context(), &kms.VerifyInput{
			KeyId: &id, Message: []byte("message"), Signature: signature, DryRun: &dryRun,
			SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
		})
		return err
	}
	requireRefused(t, verify([]byte("garbage"), false), "KMSInvalidSignatureException")
	requireRefused(t, verify([]byte("garbage"), true), "DryRunOperationException: The request would have succeeded, but the DryRun option is set.")
	requireRefused(t, verify([]byte{}, false), "ValidationException: 1 validation error detected: Value at 'signature' failed to satisfy constraint: Member must have length greater than or equal to 1")
	requireRefused(t, verify(make([]byte, 6145), false), "ValidationException: 1 validation error detected: Value at 'signature' failed to satisfy constraint: Member must have length less than or equal to 6144")
}

func TestCreateKeyRefuses(t *testing.T) {
	client := newServer(t).Client()
	for _, tt := range []struct {
		in   kms.CreateKeyInput
		want string
	}{
		{kms.CreateKeyInput{KeySpec: types.KeySpecSm2, KeyUsage: types.KeyUsageTypeSignVerify},
			"UnsupportedOperationException: KeySpec SM2 is not supported by this server."},
		{kms.CreateKeyInput{KeySpec: types.KeySpecMlDsa65, KeyUsage: types.KeyUsageTypeEncryptDecrypt},
			"ValidationException: KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec ML_DSA_65."},
		{kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256},
			"ValidationException: You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."},
		{kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeEncryptDecrypt},
			"ValidationException: KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec ECC_NIST_P256."},
		{kms.CreateKeyInput{KeySpec: types.KeySpecEccNistEdwards25519, KeyUsage: types.KeyUsageTypeKeyAgreement},
			"ValidationException: KeyUsage KEY_AGREEMENT is not compatible with KeySpec ECC_NIST_EDWARDS25519."},
		{kms.CreateKeyInput{KeySpec: types.KeySpecEccSecgP256k1, KeyUsage: types.KeyUsageTypeKeyAgreement},
			"ValidationException: KeyUsage KEY_AGREEMENT is not compatible with KeySpec ECC_SECG_P256K1."},
		{kms.CreateKeyInput{KeyUsage: types.KeyUsageTypeSignVerify},
			"ValidationException: KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT."},
		{kms.CreateKeyInput{KeyUsage: "DECORATION"},
			"ValidationException: 1 validation error detected: Value 'DECORATION' at 'keyUsage' failed to satisfy constraint: " +
				"Member must satisfy enum value set: [SIGN_VERIFY, ENCRYPT_DECRYPT, GENERATE_VERIFY_MAC, KEY_AGREEMENT, ENCAPSULATE_DECAPSULATE]"},
		{kms.CreateKeyInput{Description: aws.String(strings.Repeat("x", 8193))},
			"ValidationException: 1 validation error detected: Value '" + strings.Repeat("x", 8193) + "' at 'description' failed to satisfy constraint: Member must have length less than or equal to 8192"},
		{kms.CreateKeyInput{Origin: types.OriginTypeExternal},
			"UnsupportedOperationException: Origin EXTERNAL is not supported by this server."},
	} {
		_, err := client.CreateKey(t.Context(), &tt.in)
		requireRefused(t, err, tt.want)
	}
	_, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: "ENIGMA"})
	assert.ErrorContains(t, err, "Value 'ENIGMA' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [RSA_2048, ")
}

// What the SDK does not send takes a hand-made request, which shows the wire's shapes too.
func TestWire(t *testing.T) {
	srv := newServer(t)
	const signed = "AWS4-HMAC-SHA256 Credential=…"
	for _, tt := range []struct {
		name          string
		method        string
		target        string
		authorization string
		body          string
		status        int
		want          string
		op            string
	}{
		{"unknown operation", "POST", "TrentService.Encrypt", signed, "{}",
			400, `{"__type":"UnknownOperationException"}`, ""},
		{"no operation", "POST", "", signed, "{}",
			400, `{"__type":"UnknownOperationException"}`, ""},
		{"a browser's request", "GET", "TrentService.Sign", signed, "",
			400, `{"__type":"UnknownOperationException"}`, "Sign"},
		{"unsigned", "POST", "TrentService.Sign", "", "{}",
			400, `{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}`, "Sign"},
		{"not JSON", "POST", "TrentService.Sign", signed, "{",
			400, `{"__type":"SerializationException","message":"unexpected end of JSON input"}`, "Sign"},
		{"not base64", "POST", "TrentService.Sign", signed, `{"Message":"!"}`,
			400, `{"__type":"SerializationException","message":"illegal base64 data at input byte 0"}`, "Sign"},
		{"members missing", "POST", "TrentService.Verify", signed, `{"KeyId":"k","SigningAlgorithm":"ECDSA_SHA_256","Signature":"AA=="}`,
			400, `{"__type":"ValidationException","message":"1 validation error detected: Value null at 'message' failed to satisfy constraint: Member must not be null"}`, "Verify"},
		{"far too large", "POST", "TrentService.Sign", signed, `{"KeyId":"` + strings.Repeat("k", 1<<20) + `"}`,
			413, `{"__type":"RequestEntityTooLargeException","message":"The request is too large."}`, "Sign"},
		{"of no output", "POST", "TrentService.EnableKey", signed, `{"KeyId":"` + srv.CreateKey(types.KeySpecEccNistP256) + `"}`,
			200, `{}`, "EnableKey"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := srv.Stats().Op(tt.op).Requests
			req, err := http.NewRequestWithContext(t.Context(), tt.method, srv.Endpoint(), bytes.NewBufferString(tt.body))
			require.NoError(t, err)
			req.Header.Set("X-Amz-Target", tt.target)
			req.Header.Set("Content-Type", "application/x-amz-json-1.1")
			if tt.authorization != "" {
				req.Header.Set("Authorization", tt.authorization)
			}
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			assert.Equal(t, tt.status, res.StatusCode)
			assert.Equal(t, tt.want, string(body))
			assert.Equal(t, "application/x-amz-json-1.1", res.Header.Get("Content-Type"))
			assert.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, res.Header.Get("x-amzn-RequestId"))
			assert.Equal(t, before+1, srv.Stats().Op(tt.op).Requests)
		})
	}
}
