package kmstest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const message = "to be signed"

// publicKey gets a key over the wire, as its user would.
func publicKey(t *testing.T, client *kms.Client, keyID string) (crypto.PublicKey, *kms.GetPublicKeyOutput) {
	t.Helper()
	out, err := client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &keyID})
	require.NoError(t, err)
	if out.KeySpec == types.KeySpecEccSecgP256k1 {
		return secp256k1PublicKey(t, out.PublicKey), out
	}
	pub, err := mldsax509.ParsePKIXPublicKey(out.PublicKey)
	require.NoError(t, err)
	return pub, out
}

// secp256k1PublicKey parses what is known to be 65 bytes behind a fixed header.
func secp256k1PublicKey(t *testing.T, der []byte) crypto.PublicKey {
	t.Helper()
	const header = "3056301006072a8648ce3d020106052b8104000a034200" // as openssl writes it
	point, found := strings.CutPrefix(hex.EncodeToString(der), header)
	require.True(t, found, "%x", der)
	uncompressed, err := hex.DecodeString(point)
	require.NoError(t, err)
	pub, err := secp256k1.ParsePubKey(uncompressed)
	require.NoError(t, err)
	return pub.ToECDSA()
}

func digest(h crypto.Hash, data []byte) []byte {
	d := h.New()
	d.Write(data)
	return d.Sum(nil)
}

// checkSignature verifies with Go's own cryptography, told by the algorithm's name
// what to do.
func checkSignature(t *testing.T, pub crypto.PublicKey, alg types.SigningAlgorithmSpec, message, sig []byte) {
	t.Helper()
	name := string(alg)
	hash := crypto.SHA512
	switch {
	case strings.HasSuffix(name, "SHA_256"):
		hash = crypto.SHA256
	case strings.HasSuffix(name, "SHA_384"):
		hash = crypto.SHA384
	}
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(name, "RSASSA_PSS") {
			// SaltLength exactly the hash's: Auto would take any.
			opts := &rsa.PSSOptions{SaltLength: hash.Size()}
			assert.NoError(t, rsa.VerifyPSS(pub, hash, digest(hash, message), sig, opts))
			return
		}
		assert.NoError(t, rsa.VerifyPKCS1v15(pub, hash, digest(hash, message), sig))
	case *ecdsa.PublicKey:
		assert.True(t, ecdsa.VerifyASN1(pub, digest(hash, message), sig))
	case ed25519.PublicKey:
		assert.True(t, ed25519.Verify(pub, message, sig))
	case *mldsa.PublicKey:
		assert.NoError(t, mldsa.Verify(pub, message, sig, nil))
	default:
		t.Fatalf("a public key of type %T", pub)
	}
}

func TestSign(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	rsaAlgorithms := []types.SigningAlgorithmSpec{
		"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
		"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512",
	}
	for _, tt := range []struct {
		spec       types.KeySpec
		algorithms []types.SigningAlgorithmSpec
		slow       bool
	}{
		{spec: "RSA_2048", algorithms: rsaAlgorithms},
		{spec: "RSA_3072", algorithms: rsaAlgorithms, slow: true},
		{spec: "RSA_4096", algorithms: rsaAlgorithms, slow: true},
		{spec: "ECC_NIST_P256", algorithms: []types.SigningAlgorithmSpec{"ECDSA_SHA_256"}},
		{spec: "ECC_NIST_P384", algorithms: []types.SigningAlgorithmSpec{"ECDSA_SHA_384"}},
		{spec: "ECC_NIST_P521", algorithms: []types.SigningAlgorithmSpec{"ECDSA_SHA_512"}},
		{spec: "ECC_SECG_P256K1", algorithms: []types.SigningAlgorithmSpec{"ECDSA_SHA_256"}},
		{spec: "ECC_NIST_EDWARDS25519", algorithms: []types.SigningAlgorithmSpec{"ED25519_SHA_512", "ED25519_PH_SHA_512"}},
	} {
		if tt.slow && testing.Short() {
			continue // making the key takes long
		}
		t.Run(string(tt.spec), func(t *testing.T) {
			id := srv.CreateKey(tt.spec)
			pub, described := publicKey(t, client, id)
			assert.Equal(t, srv.ARN(id), *described.KeyId)
			assert.Equal(t, tt.spec, described.KeySpec)
			assert.Equal(t, types.KeyUsageTypeSignVerify, described.KeyUsage)
			assert.Equal(t, tt.algorithms, described.SigningAlgorithms)

			for _, alg := range tt.algorithms {
				if strings.HasPrefix(string(alg), "ED25519") {
					continue // TestSignEd25519
				}
				hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[string(alg)[len(alg)-3:]]
				for kind, msg := range map[types.MessageType][]byte{
					"":                      []byte(message), // RAW
					types.MessageTypeRaw:    []byte(message),
					types.MessageTypeDigest: digest(hash, []byte(message)),
				} {
					out, err := client.Sign(t.Context(), &kms.SignInput{KeyId: &id, Message: msg, MessageType: kind, SigningAlgorithm: alg})
					require.NoError(t, err, "%s %s", alg, kind)
					assert.Equal(t, srv.ARN(id), *out.KeyId)
					assert.Equal(t, alg, out.SigningAlgorithm)
					checkSignature(t, pub, alg, []byte(message), out.Signature)

					valid, err := client.Verify(t.Context(), &kms.VerifyInput{KeyId: &id, Message: msg, MessageType: kind, SigningAlgorithm: alg, Signature: out.Signature})
					require.NoError(t, err, "%s %s", alg, kind)
					assert.True(t, valid.SignatureValid)
					assert.Equal(t, srv.ARN(id), *valid.KeyId)
				}
			}
		})
	}
}

func TestSignEd25519(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	id := srv.CreateKey(types.KeySpecEccNistEdwards25519)
	pub, _ := publicKey(t, client, id)

	out, err := client.Sign(t.Context(), &kms.SignInput{
		KeyId: &id, Message: []byte(message), MessageType: types.MessageTypeRaw,
		SigningAlgorithm: types.SigningAlgorithmSpecEd25519Sha512,
	})
	require.NoError(t, err)
	checkSignature(t, pub, types.SigningAlgorithmSpecEd25519Sha512, []byte(message), out.Signature)

	// KMS hashes a digest once more, so it is a signature over the digest.
	given := sha512.Sum512([]byte(message))
	out, err = client.Sign(t.Context(), &kms.SignInput{
		KeyId: &id, Message: given[:], MessageType: types.MessageTypeDigest,
		SigningAlgorithm: types.SigningAlgorithmSpecEd25519PhSha512,
	})
	require.NoError(t, err)
	prehash := &ed25519.Options{Hash: crypto.SHA512}
	twice := sha512.Sum512(given[:])
	assert.NoError(t, ed25519.VerifyWithOptions(pub.(ed25519.PublicKey), twice[:], out.Signature, prehash))
	assert.Error(t, ed25519.VerifyWithOptions(pub.(ed25519.PublicKey), given[:], out.Signature, prehash))

	valid, err := client.Verify(t.Context(), &kms.VerifyInput{
		KeyId: &id, Message: given[:], MessageType: types.MessageTypeDigest, Signature: out.Signature,
		SigningAlgorithm: types.SigningAlgorithmSpecEd25519PhSha512,
	})
	require.NoError(t, err)
	assert.True(t, valid.SignatureValid)
}

func TestSignMLDSA(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	for spec, params := range map[types.KeySpec]mldsa.Parameters{
		types.KeySpecMlDsa44: mldsa.MLDSA44(),
		types.KeySpecMlDsa65: mldsa.MLDSA65(),
		types.KeySpecMlDsa87: mldsa.MLDSA87(),
	} {
		t.Run(string(spec), func(t *testing.T) {
			id := srv.CreateKey(spec)
			public, described := publicKey(t, client, id)
			pub := public.(*mldsa.PublicKey)
			assert.Equal(t, params, pub.Parameters())
			assert.Equal(t, []types.SigningAlgorithmSpec{types.SigningAlgorithmSpecMlDsaShake256}, described.SigningAlgorithms)
			assert.Equal(t, described.SigningAlgorithms, describe(t, client, id).SigningAlgorithms)
			elsewhere, _ := publicKey(t, srv.Replica("eu-west-1").Client(), id)
			assert.Equal(t, public, elsewhere)

			call := func(input []byte, kind types.MessageType) []byte {
				out, err := client.Sign(t.Context(), &kms.SignInput{KeyId: &id, Message: input, MessageType: kind, SigningAlgorithm: types.SigningAlgorithmSpecMlDsaShake256})
				require.NoError(t, err)
				assert.NoError(t, mldsa.Verify(pub, []byte(message), out.Signature, nil))
				return out.Signature
			}
			mu := externalMu(pub, []byte(message))
			sig := call([]byte(message), types.MessageTypeRaw)
			assert.Len(t, sig, params.SignatureSize())
			assert.Equal(t, sig, call(mu, types.MessageTypeExternalMu))

			verify := func(input []byte, kind types.MessageType, sig []byte) error {
				_, err := client.Verify(t.Context(), &kms.VerifyInput{KeyId: &id, Message: input, MessageType: kind, SigningAlgorithm: types.SigningAlgorithmSpecMlDsaShake256, Signature: sig})
				return err
			}
			another := bytes.Clone(sig)
			another[7] ^= 1
			for kind, input := range map[types.MessageType][]byte{types.MessageTypeRaw: []byte(message), types.MessageTypeExternalMu: mu} {
				assert.NoError(t, verify(input, kind, sig))
				requireRefused(t, verify(input, kind, another), "KMSInvalidSignatureException")
				input[0] ^= 1
				requireRefused(t, verify(input, kind, sig), "KMSInvalidSignatureException")
			}
		})
	}
}

// externalMu computes μ as FIPS 204 has it, out of the public key and the message.
func externalMu(pub *mldsa.PublicKey, message []byte) []byte {
	tr := sha3.SumSHAKE256(pub.Bytes(), 64)
	return sha3.SumSHAKE256(slices.Concat(tr, []byte{0, 0}, message), 64)
}

// As AWS does, and unlike the chains that use the curve.
func TestSecp256k1SignaturesAreOfBothHalves(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	id := srv.CreateKey(types.KeySpecEccSecgP256k1)
	half := new(big.Int).Rsh(secp256k1.Params().N, 1)
	low, high := 0, 0
	for range 64 {
		out, err := signWith(t.Context(), client, id)
		require.NoError(t, err)
		var sig struct{ R, S *big.Int }
		_, err = asn1.Unmarshal(out.Signature, &sig)
		require.NoError(t, err)
		if sig.S.Cmp(half) > 0 {
			high++
		} else {
			low++
		}
		_, err = client.Verify(t.Context(), &kms.VerifyInput{KeyId: &id, Message: []byte("message"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256, Signature: out.Signature})
		require.NoError(t, err)
	}
	assert.Positive(t, low)
	assert.Positive(t, high)
}

func TestVerifyRefusesAnotherMessage(t *testing.T) {
	srv := newServer(t)
	client := srv.Client()
	for spec, alg := range map[types.KeySpec]types.SigningAlgorithmSpec{
		types.KeySpecRsa2048:             types.SigningAlgorithmSpecRsassaPssSha256,
		types.KeySpecEccNistP256:         types.SigningAlgorithmSpecEcdsaSha256,
		types.KeySpecEccSecgP256k1:       types.SigningAlgorithmSpecEcdsaSha256,
		types.KeySpecEccNistEdwards25519: types.SigningAlgorithmSpecEd25519Sha512,
		types.KeySpecMlDsa44:             types.SigningAlgorithmSpecMlDsaShake256,
	} {
		id := srv.CreateKey(spec)
		out, err := client.Sign(t.Context(), &kms.SignInput{KeyId: &id, Message: []byte(message), SigningAlgorithm: alg})
		require.NoError(t, err)
		_, err = client.Verify(t.Context(), &kms.VerifyInput{KeyId: &id, Message: []byte("another"), SigningAlgorithm: alg, Signature: out.Signature})
		var invalid *types.KMSInvalidSignatureException
		assert.True(t, errors.As(err, &invalid), "%s: %v", spec, err)
	}
}

// A Server makes the keys it says it makes, and no others.
func TestCreateKeyPanics(t *testing.T) {
	srv := newServer(t)
	for _, spec := range []types.KeySpec{types.KeySpecSm2, "NONESUCH"} {
		assert.PanicsWithValue(t,
			"kmstest: CreateKey: UnsupportedOperationException: KeySpec "+string(spec)+" is not supported by this server.",
			func() { srv.CreateKey(spec) })
	}
}
