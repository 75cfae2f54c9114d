package awskms

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/mldsa/x509"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/kmstest"
)

// A key of "openssl ecparam -name secp256k1 -genkey", as openssl writes its
// public half in the three forms that it knows.
const (
	pointX = "4993fdb0eaf5fc7f1d3d38acc3a6b9264529bc4e860cda044e95eceea92583af"
	pointY = "41b5bbc2a51866e5f21249e308d933a8d7aa8af1db5580197c6881043e001bca"

	long  = "3056301006072a8648ce3d020106052b8104000a034200" // before a point of 65 bytes
	short = "3036301006072a8648ce3d020106052b8104000a032200" // before one of 33

	uncompressed = long + "04" + pointX + pointY
	compressed   = short + "02" + pointX
	hybrid       = long + "06" + pointX + pointY
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestSecp256k1KeyIsParsedInBothForms(t *testing.T) {
	for _, der := range []string{uncompressed, compressed} {
		pub, err := parsePublicKey(unhex(der))
		require.NoError(t, err)
		require.Equal(t, types.KeySpecEccSecgP256k1, specOf(pub))
		require.Equal(t, pointX+pointY, hex.EncodeToString(pub.(*secp256k1.PublicKey).SerializeUncompressed()[1:]))
	}
}

func TestSecp256k1KeyIsParsedStrictly(t *testing.T) {
	p := hex.EncodeToString(secp256k1.Params().P.Bytes())
	for name, der := range map[string]string{
		"nothing":                  "",
		"hybrid":                   hybrid,
		"the point at infinity":    "3016301006072a8648ce3d020106052b8104000a03020000",
		"a byte behind":            uncompressed + "00",
		"a byte behind, inside":    "3059" + uncompressed[4:] + "020100",
		"the point cut short":      "3055301006072a8648ce3d020106052b8104000a034100" + "04" + pointX + pointY[:62],
		"no point":                 "3015301006072a8648ce3d020106052b8104000a030100",
		"off the curve":            long + "04" + pointX + pointX,
		"x has no y":               short + "02" + strings.Repeat("00", 31) + "05",
		"x is p":                   short + "02" + p,
		"unused bits":              long[:44] + "01" + "04" + pointX + pointY,
		"a length in two bytes":    "308156" + uncompressed[4:],
		"curve's parameters twice": "305d301706072a8648ce3d020106052b8104000a06052b8104000a034200" + "04" + pointX + pointY,
		"another curve":            strings.Replace(uncompressed, "2b8104000a", "2b8104000b", 1),
		"no curve":                 "304f300906072a8648ce3d0201034200" + "04" + pointX + pointY,
		"another algorithm":        strings.Replace(uncompressed, "2a8648ce3d0201", "2a8648ce3d0202", 1),
	} {
		t.Run(name, func(t *testing.T) {
			pub, err := parsePublicKey(unhex(der))
			require.Error(t, err)
			require.Nil(t, pub)
		})
	}
}

// FuzzParsePublicKey: whatever KMS gives for a public key, there is no panic, and
// a key of a known spec comes back the same from its own encoding. A signer takes
// it, unless it is one of RSA under which nothing verifies.
func FuzzParsePublicKey(f *testing.F) {
	srv := kmstest.NewServer()
	defer srv.Close()
	for _, spec := range keySpecs {
		if spec.name == types.KeySpecRsa3072 || spec.name == types.KeySpecRsa4096 {
			continue // making one takes long, and teaches nothing more
		}
		id := srv.CreateKey(spec.name)
		out, err := srv.Client().GetPublicKey(f.Context(), &kms.GetPublicKeyInput{KeyId: &id})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(out.PublicKey)
	}
	for _, der := range []string{uncompressed, compressed, hybrid} {
		f.Add(unhex(der))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		pub, err := parsePublicKey(der)
		if err != nil {
			require.Nil(t, pub)
			return
		}
		spec := specOf(pub)
		if spec == "" {
			return
		}
		again, err := parsePublicKey(marshal(t, pub, der))
		require.NoError(t, err)
		require.Equal(t, pub, again)
		s, err := signer.NewBuilder(signer.Wrap(publicOnly{pub}, signer.WrapOptions{})).Build(t.Context())
		if _, isRSA := pub.(*rsa.PublicKey); err != nil && isRSA {
			require.ErrorContains(t, err, "malformed")
			return
		}
		require.NoError(t, err, spec)
		require.NoError(t, s.Close())
	})
}

// marshal encodes a key as it was encoded in der.
func marshal(t *testing.T, pub crypto.PublicKey, der []byte) []byte {
	if pub, ok := pub.(*secp256k1.PublicKey); ok {
		encoded := append(unhex(long), pub.SerializeUncompressed()...)
		if len(der) < len(encoded) {
			encoded = append(unhex(short), pub.SerializeCompressed()...)
		}
		require.True(t, bytes.Equal(der, encoded), "there is one encoding of each form")
		return encoded
	}
	encoded, err := x509.MarshalPKIXPublicKey(pub)
	require.NoError(t, err)
	return encoded
}

// publicOnly is a signer that never signs.
type publicOnly struct{ pub crypto.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.pub }
func (p publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("not asked for")
}
